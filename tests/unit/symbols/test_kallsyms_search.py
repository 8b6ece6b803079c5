"""Finding the kernel's symbol table in memory, where VMCOREINFO tells and where it does not."""

from __future__ import annotations

import functools
import time
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder, SegmentedAddressSpace
from kdump_gdbserver.domain.symbols.kallsyms import Encoding, Kallsyms
from kdump_gdbserver.domain.symbols.kallsyms_search import (
    find_kallsyms,
    read_kallsyms,
    search_kallsyms,
)
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.kallsyms_writer import Layout, lay_out

TEXT = 0xFFFFFFFF9F000000
TABLES_AT = TEXT + 0x800010
END = TEXT + 0x1000000
BANNER = TEXT + 0x700000

layouts = pytest.mark.parametrize("layout", get_args(Layout))
byte_orders = pytest.mark.parametrize("order", ["little", "big"])
EXPECTED = {
    "4.20-6.1": Encoding.BASE,
    "6.2-6.3": Encoding.BASE,
    "6.4-6.19": Encoding.BASE,
    "7.0-": Encoding.PLACE,
    "addresses": Encoding.ABSOLUTE,
}


@functools.cache
def symbols() -> dict[str, int]:
    """Return 3,000 symbols: fewer than any kernel has, enough to be told from other things."""
    verbs, nouns = "get put init exit do try find free".split(), "page task inode cpu lock".split()
    some = {
        f"{verb}_{noun}_{number}": TEXT + 0x100 + 0x40 * number
        for number, (verb, noun) in enumerate((v, n) for n in nouns for v in verbs * 75)
    }
    return some | {
        "_stext": TEXT,
        "_etext": TEXT + 0x600000,
        "linux_banner": BANNER,
        "_sinittext": TEXT + 0xF00000,
    }


@functools.cache
def tables(layout: Layout, order: ByteOrder, percpu: bool = False) -> tuple[bytes, dict[str, int]]:
    known = symbols() | ({"percpu_first": 0, "percpu_last": 0x30000} if percpu else {})
    return lay_out(known, TEXT, TABLES_AT, layout, order, absolute_percpu=percpu)


def memory_of(
    data: bytes, banner: bytes = b"Linux version 6.1", at: int = TABLES_AT
) -> AddressSpace:
    """Return a kernel's memory: text, a hole, the banner, and the tables among other data."""
    around = bytes(range(256)) * 16
    return SegmentedAddressSpace(
        {TEXT: b"\x90" * 0x10000, BANNER: banner, at - len(around): around + data + around}
    )


@layouts
@byte_orders
@pytest.mark.parametrize("anchors", [{"_stext": TEXT}, {}], ids=["anchored", "banner"])
def test_tables_of_every_age_are_found_by_their_shape(
    layout: Layout, order: ByteOrder, anchors: dict[str, int]
) -> None:
    memory = memory_of(tables(layout, order)[0])
    found = search_kallsyms(memory, order, TEXT, END, anchors)
    assert found.encoding is EXPECTED[layout]
    assert {each.name: each.address for each in found.all()} == symbols()


@pytest.mark.parametrize("layout", ["4.20-6.1", "6.4-6.19"])
def test_absolute_per_cpu_symbols_are_told_from_others(layout: Layout) -> None:
    memory = memory_of(tables(layout, "little", True)[0])
    found = search_kallsyms(memory, "little", TEXT, END)
    assert found.encoding is Encoding.PERCPU
    assert (found.address("percpu_last"), found.address("_etext")) == (0x30000, TEXT + 0x600000)


@given(st.integers(0, 300).map(lambda n: 4 * n))
@settings(max_examples=20)
def test_it_does_not_matter_where_they_are(shift: int) -> None:
    data, _ = lay_out(symbols(), TEXT, TABLES_AT + shift, "7.0-")
    memory = memory_of(data, at=TABLES_AT + shift)
    assert len(search_kallsyms(memory, "little", TEXT, END)) == len(symbols())


@layouts
def test_what_nothing_proves_is_not_believed(layout: Layout) -> None:
    data, _ = tables(layout, "little")
    with pytest.raises(ValueError, match="_stext"):
        search_kallsyms(memory_of(data), "little", TEXT, END, {"_stext": TEXT + 0x1000})
    # Another banner, but the tables lie where they should between the marks.
    without_banner = memory_of(data, banner=b"Windows version 6")
    assert len(search_kallsyms(without_banner, "little", TEXT, END)) == len(symbols())
    elsewhere = {
        name: at - 0x700000 if name == "_sinittext" else at for name, at in symbols().items()
    }
    data, _ = lay_out(elsewhere, TEXT, TABLES_AT, layout)
    with pytest.raises(ValueError, match="nothing proves"):
        search_kallsyms(memory_of(data, b"Windows version 6"), "little", TEXT, END)


@layouts
@byte_orders
def test_the_other_byte_order_finds_nothing(layout: Layout, order: ByteOrder) -> None:
    other: ByteOrder = "big" if order == "little" else "little"
    with pytest.raises(ValueError, match="no table of tokens"):
        search_kallsyms(memory_of(tables(layout, order)[0]), other, TEXT, END)


def vmcoreinfo(places: dict[str, int], **more: int) -> Vmcoreinfo:
    lines = {f"kallsyms_{name}": at for name, at in places.items()} | {"_stext": TEXT} | more
    return Vmcoreinfo({f"SYMBOL({name})": f"{at:x}" for name, at in lines.items()})


@pytest.mark.parametrize("layout", ["4.20-6.1", "6.2-6.3", "6.4-6.19", "7.0-"])
@byte_orders
def test_vmcoreinfo_tells_where_they_are(layout: Layout, order: ByteOrder) -> None:
    data, places = tables(layout, order)
    found = read_kallsyms(memory_of(data), vmcoreinfo(places, linux_banner=BANNER), order)
    assert found.encoding is EXPECTED[layout]
    assert {each.name: each.address for each in found.all()} == symbols()


def test_every_symbol_that_vmcoreinfo_tells_must_agree() -> None:
    data, places = tables("6.4-6.19", "little")
    with pytest.raises(ValueError, match="linux_banner"):
        read_kallsyms(memory_of(data), vmcoreinfo(places, linux_banner=BANNER + 8), "little")
    # The value of a pointer under its name.
    read_kallsyms(memory_of(data), vmcoreinfo(places, mem_section=BANNER), "little")


@pytest.mark.parametrize("gone", ["names", "num_syms", "token_table", "token_index", "offsets"])
def test_without_one_of_the_places_the_tables_are_not_read(gone: str) -> None:
    data, places = tables("6.4-6.19", "little")
    known = {name: at for name, at in places.items() if name != gone}
    with pytest.raises(ValueError, match=f"kallsyms_{gone}"):
        read_kallsyms(memory_of(data), vmcoreinfo(known), "little")


def test_where_vmcoreinfo_does_not_tell_the_kernel_is_searched() -> None:
    memory = memory_of(tables("4.20-6.1", "little")[0])
    assert len(find_kallsyms(memory, vmcoreinfo({}), "little")) == len(symbols())
    with pytest.raises(ValueError, match="where the kernel is"):
        find_kallsyms(memory, Vmcoreinfo({}), "little")


def test_unreadable_tables_say_where() -> None:
    _, places = tables("6.4-6.19", "little")
    with pytest.raises(ValueError, match=f"cannot read memory at {places['num_syms']:#x}"):
        find_kallsyms(SegmentedAddressSpace({}), vmcoreinfo(places), "little")


@given(st.data())
@settings(max_examples=60)
def test_damaged_tables_are_refused_or_read_right(data: st.DataObject) -> None:
    """A wrong byte in names or tokens can spell a name wrongly; no address may be wrong."""
    layout = data.draw(st.sampled_from(get_args(Layout)))
    raw, places = tables(layout, "little")
    damaged = bytearray(raw)
    kept = range(places["names"] - TABLES_AT, places["token_index"] - TABLES_AT)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255)) if at not in kept else 0x80
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    try:
        found = search_kallsyms(memory_of(bytes(damaged)), "little", TEXT, END, {"_stext": TEXT})
    except ValueError:
        return
    assert len(found) == len(symbols())
    assert list(found.addresses) == sorted(found.addresses)


@pytest.mark.parametrize("order", ["little", "big"])
def test_memory_full_of_what_looks_like_it_takes_bounded_time(order: ByteOrder) -> None:
    data, places = tables("4.20-6.1", order)
    tokens = data[places["token_table"] - TABLES_AT :]
    marker = b"".join((n * 600).to_bytes(4, order) for n in range(20))
    number = (256 * 19 + 3).to_bytes(4, order) * 5000
    started = time.thread_time()
    with pytest.raises(ValueError, match="kallsyms"):
        search_kallsyms(
            memory_of((number + marker * 5000 + tokens) * 20), order, TEXT, TEXT + 0x4000000
        )
    assert time.thread_time() - started < 20  # measured: 1 s


def test_no_kernel_at_all() -> None:
    with pytest.raises(ValueError, match="no table of tokens"):
        search_kallsyms(SegmentedAddressSpace({}), "little", TEXT, TEXT + (1 << 30))


def test_kinds_are_told() -> None:
    found: Kallsyms = search_kallsyms(memory_of(tables("7.0-", "little")[0]), "little", TEXT, END)
    assert {each.kind for each in found.all()} == {"D"}
