"""The reader of the kernel's symbol table against tables made as the kernel makes them."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms, KallsymsTables, Symbol, parse_tokens
from tests.support.kallsyms_writer import Tables, write_tables

BASE = 0xFFFFFFFF9F000000
FIXED = {"_stext": BASE, "panic_cpu": BASE + 0x100, "panic_cpus": BASE + 0x104}

names = st.text("abcdefghijklmnopqrstuvwxyz_.0123456789", min_size=1, max_size=200)
name_sets = st.lists(names, unique=True, max_size=30)
orders: st.SearchStrategy[ByteOrder] = st.sampled_from(["little", "big"])


def reader(tables: Tables, order: ByteOrder) -> KallsymsTables:
    return KallsymsTables(
        tables.names,
        parse_tokens(tables.token_table, tables.token_index, order),
        tables.offsets,
        int.from_bytes(tables.relative_base, order),
        order,
    )


def find(
    tables: KallsymsTables, wanted: Collection[str], anchor: tuple[str, int] | None = None
) -> dict[str, int]:
    """Return the addresses of those symbols whose names are no other's."""
    found = Kallsyms.proved(tables, dict([anchor] if anchor else []), wanted).find(wanted)
    return {name: at[0] for name, at in found.items() if len(at) == 1}


@given(name_sets, orders, st.booleans(), st.booleans(), st.data())
def test_every_symbol_is_found_where_it_was_put(
    given_names: list[str], order: ByteOrder, percpu: bool, compress: bool, data: st.DataObject
) -> None:
    above = st.integers(BASE + 0x200, BASE + 0x60000000)
    place = st.one_of(above, st.integers(0, 1 << 20)) if percpu else above
    symbols = {name: data.draw(place) for name in given_names} | FIXED
    kinds = {name: data.draw(st.sampled_from("TtDdBbRrAVW")) for name in given_names}
    tables = write_tables(
        symbols, BASE, order, absolute_percpu=percpu, compress=compress, kinds=kinds
    )
    wanted = [*symbols, "not_there"]
    assert symbols == find(reader(tables, order), wanted, ("_stext", BASE))


def test_compression_uses_tokens_of_many_characters() -> None:
    symbols = {f"crash_kexec_post_{i}": BASE + i for i in range(50)} | FIXED
    plain = write_tables(symbols, BASE, compress=False)
    packed = write_tables(symbols, BASE)
    assert len(packed.names) < len(plain.names) // 3
    assert any(len(t) > 8 for t in parse_tokens(packed.token_table, packed.token_index, "little"))
    assert find(reader(plain, "little"), symbols) == find(reader(packed, "little"), symbols)


def test_without_an_anchor_offsets_count_from_absolute_percpu() -> None:
    tables = write_tables(FIXED, BASE, absolute_percpu=True)
    assert find(reader(tables, "little"), FIXED) == FIXED


@pytest.mark.parametrize("percpu", [True, False])
def test_a_table_that_places_the_anchor_elsewhere_is_not_believed(percpu: bool) -> None:
    tables = write_tables(FIXED, BASE, absolute_percpu=percpu)
    with pytest.raises(ValueError, match="_stext"):
        find(reader(tables, "little"), FIXED, ("_stext", BASE + 0x1000))


@given(name_sets, orders, st.booleans(), st.data())
def test_all_symbols_come_in_order_with_their_kinds(
    given_names: list[str], order: ByteOrder, percpu: bool, data: st.DataObject
) -> None:
    place = st.integers(BASE + 0x200, BASE + 0x60000000)
    symbols = {name: data.draw(place) for name in given_names} | FIXED
    kinds = {name: data.draw(st.sampled_from("TtDdBbRrAVW")) for name in symbols}
    tables = write_tables(symbols, BASE, order, absolute_percpu=percpu, kinds=kinds)
    read = Kallsyms.proved(reader(tables, order), {"_stext": BASE})
    everything = list(read.all())
    assert len(read) == len(symbols)
    assert {each.name: each.address for each in everything} == symbols
    assert {each.name: each.kind for each in everything} == kinds
    assert everything == sorted(everything, key=lambda each: each.address)
    # One by one, from the text of all, they are what they are in a batch.
    assert {name: read.address(name) for name in symbols} == symbols
    assert read.address("not_there") is None
    for number, symbol in enumerate(everything):
        assert read.names[number] == symbol.kind + symbol.name
        if number + 1 == len(symbols) or everything[number + 1].address > symbol.address:
            assert read.at(symbol.address) == symbol
    assert read.at(BASE - 1) is None
    assert read.at(BASE + 0x80) == Symbol("_stext", kinds["_stext"], BASE)


def test_a_name_of_two_symbols_has_no_address_of_its_own() -> None:
    names = {"_stext": BASE, "cleanup": BASE + 0x20, "Xcleanup": BASE + 0x40, "last": BASE + 0x60}
    tables = write_tables(names, BASE, compress=False)
    twice = KallsymsTables(
        tables.names.replace(b"\x09DXcleanup", b"\x08Dcleanup"),
        parse_tokens(tables.token_table, tables.token_index, "little"),
        tables.offsets,
        BASE,
    )
    read = Kallsyms.proved(twice, {"_stext": BASE, "cleanup": BASE + 0x40})
    for _ in range(10):  # before and after all are spelled out
        assert read.find(["cleanup", "last"]) == {
            "cleanup": (BASE + 0x20, BASE + 0x40),
            "last": (BASE + 0x60,),
        }
        assert read.address("cleanup") is None
        assert read.address("last") == BASE + 0x60
    assert find(twice, ["cleanup", "last"]) == {"last": BASE + 0x60}
    with pytest.raises(ValueError, match="cleanup"):
        Kallsyms.proved(twice, {"cleanup": BASE + 0x60})


def test_two_symbols_at_one_address_are_both_there() -> None:
    read = Kallsyms.proved(
        reader(write_tables({"_stext": BASE, "_text": BASE}, BASE), "little"), {}
    )
    assert read.address("_text") == read.address("_stext") == BASE
    assert read.at(BASE + 4) == Symbol("_text", "D", BASE)


def test_addresses_out_of_order_are_not_believed() -> None:
    tables = write_tables(FIXED, BASE)
    raw = reader(tables, "little")
    swapped = tables.offsets[4:8] + tables.offsets[:4] + tables.offsets[8:]
    with pytest.raises(ValueError, match="not in order"):
        find(KallsymsTables(raw.names, raw.tokens, swapped, BASE), FIXED)


any_tables = st.builds(
    lambda names, table, index, rest: KallsymsTables(
        names, parse_tokens(table, index, rest[2]), rest[0], rest[1], rest[2]
    ),
    st.binary(max_size=400),
    st.binary(max_size=300),
    st.binary(min_size=512, max_size=512),
    st.tuples(st.binary(max_size=100), st.integers(0, (1 << 64) - 1), orders),
)


@given(any_tables, st.booleans())
def test_any_bytes_give_symbols_or_a_value_error(tables: KallsymsTables, anchored: bool) -> None:
    try:
        found = find(tables, ("panic_cpu", "a"), ("_stext", BASE) if anchored else None)
    except ValueError:
        return
    assert all(0 <= address < 1 << 64 for address in found.values())


def test_names_beyond_the_offsets_are_left_out() -> None:
    tables = write_tables(FIXED, BASE)
    short = KallsymsTables(
        tables.names,
        parse_tokens(tables.token_table, tables.token_index, "little"),
        tables.offsets[:6],
        BASE,
    )
    assert find(short, FIXED, ("_stext", BASE)) == {"_stext": BASE}


def test_damaged_tables_take_no_longer_than_sound_ones() -> None:
    """The bound: neither ambiguous nor endless tokens keep a server busy for ever."""
    ambiguous = (b"Da", b"a", b"aa", b"aaa") * 60 + (b"b",) * 16
    endless = tuple(b"D" + b"a" * 500 for _ in range(256))
    names = (b"\x60" + bytes(range(96))) * 100000
    started = time.thread_time()
    for tokens in (ambiguous, endless):
        symbols = Kallsyms.proved(KallsymsTables(names, tokens, bytes(400000), BASE), {})
        assert symbols.find(["a" * 30 + "c", "panic_cpu"]) == {}
        assert [symbols.address("panic_cpu") for _ in range(8)] == [None] * 8
    with pytest.raises(ValueError, match="more than 67108864 characters"):
        list(symbols.all())
    assert time.thread_time() - started < 5  # measured: 0.4 s


def test_names_stay_packed_in_memory() -> None:
    """As objects, or as text of two bytes a character, they would take ten times as much."""
    symbols = {f"some_function_{number:x}": BASE + number for number in range(20_000)}
    tables = reader(write_tables(symbols, BASE, compress=False), "little")
    wanted = ["some_function_10", "some_function_4e1f"]
    tracemalloc.start()
    try:
        found = Kallsyms.proved(tables, {}, wanted)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.find(wanted) == {name: (symbols[name],) for name in wanted}
    assert kept < 16 * len(symbols)  # measured: 14, of them 8 for the address
    assert most < 2 * kept


def test_tokens_longer_than_any_name_are_refused() -> None:
    tables = KallsymsTables(b"\1a", (b"D" + b"a" * 600,) * 256, bytes(4), BASE)
    with pytest.raises(ValueError, match="no part of a name"):
        find(tables, ["panic_cpu"])


def test_addresses_do_not_leave_the_address_space() -> None:
    tables = write_tables(FIXED, BASE)
    wrapped = KallsymsTables(
        tables.names,
        parse_tokens(tables.token_table, tables.token_index, "little"),
        b"\0\0\0\x80" * len(FIXED),
        (1 << 64) - 1,
    )
    assert {(1 << 31) - 2} == set(find(wrapped, FIXED).values())
