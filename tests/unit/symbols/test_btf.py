"""The reader of the kernel's type information."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.btf import Btf, Kind
from tests.support.btf_writer import write_btf

orders: st.SearchStrategy[ByteOrder] = st.sampled_from(["little", "big"])
identifiers = st.text("abcdefghij_", min_size=1, max_size=12)
structs = st.dictionaries(
    identifiers, st.dictionaries(identifiers, st.integers(0, 1 << 16), max_size=6), max_size=6
)


def member_offsets(btf: Btf, struct: str) -> dict[str, int]:
    """Return the byte offsets of a struct's members, without bit fields."""
    return {
        member.name: member.bit_offset // 8
        for number in btf.find(struct, Kind.STRUCT)
        for member in btf.members(number)
        if not member.bits
    }


@given(structs, orders)
def test_members_are_found_where_they_were_put(
    made: dict[str, dict[str, int]], order: ByteOrder
) -> None:
    btf = Btf.parse(write_btf(made, order), order)
    for name, members in made.items():
        assert members == member_offsets(btf, name)
    assert member_offsets(btf, "no_such_struct") == {}


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_struct_anywhere_in_the_blob_is_found(order: ByteOrder) -> None:
    made = {f"filler_{i}": {"a": 0} for i in range(40)} | {"task_struct": {"pid": 0x4E8}}
    assert member_offsets(Btf.parse(write_btf(made, order), order), "task_struct") == {"pid": 0x4E8}
    made = {"task_struct": {"pid": 0x4E8}} | made
    assert member_offsets(Btf.parse(write_btf(made, order), order), "task_struct") == {"pid": 0x4E8}


def test_bit_fields_are_left_out() -> None:
    blob = write_btf({"s": {"pid": 16}}, bit_fields={"s": {"in_iowait": (35, 1)}})
    assert member_offsets(Btf.parse(blob, "little"), "s") == {"pid": 16}


@pytest.mark.parametrize(
    ("blob", "said"), [(b"", "short"), (b"\x9f\xeb" + bytes(10), "short"), (bytes(24), "magic")]
)
def test_what_is_no_btf_is_refused(blob: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Btf.parse(blob, "little")


def test_the_other_byte_order_is_refused() -> None:
    with pytest.raises(ValueError, match="magic"):
        Btf.parse(write_btf({"s": {"a": 0}}, "big"), "little")


@given(st.data(), orders)
def test_damaged_btf_gives_members_or_a_value_error(data: st.DataObject, order: ByteOrder) -> None:
    blob = bytearray(write_btf({"task_struct": {"pid": 8, "comm": 12}}, order))
    for _ in range(data.draw(st.integers(1, 8))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(blob)))
    try:
        members = member_offsets(Btf.parse(bytes(blob[:cut]), order), "task_struct")
    except ValueError:
        return
    assert all(0 <= offset < 1 << 29 for offset in members.values())
