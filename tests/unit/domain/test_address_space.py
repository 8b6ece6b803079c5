"""AddressSpace: reads agree with the segments, holes are named, nothing is made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import (
    AddressSpace,
    ByteOrder,
    OverlaidAddressSpace,
    SegmentedAddressSpace,
)
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault

_SPAN = 32


@st.composite
def segments(draw: st.DrawFn) -> dict[int, bytes]:
    """Segments within `_SPAN` bytes, some adjoining, from a string of bytes and holes."""
    cells = draw(st.lists(st.one_of(st.none(), st.integers(0, 255)), max_size=_SPAN))
    cuts = draw(st.sets(st.integers(0, _SPAN), max_size=8))
    made: dict[int, bytearray] = {}
    start = -1
    for at, cell in enumerate(cells):
        if cell is None:
            start = -1
            continue
        if start < 0 or at in cuts:
            start = at
        made.setdefault(start, bytearray()).append(cell)
    return {at: bytes(data) for at, data in made.items()}


def readable(parts: dict[int, bytes]) -> dict[int, int]:
    return {at + i: byte for at, data in parts.items() for i, byte in enumerate(data)}


def expect_read(space: AddressSpace, cells: dict[int, int], address: int, length: int) -> None:
    """Check one read against the truth, byte by byte."""
    expected = bytearray()
    while len(expected) < length and address + len(expected) in cells:
        expected.append(cells[address + len(expected)])
    if length and not expected:
        with pytest.raises(MemoryFault) as caught:
            space.read(address, length)
        assert address == caught.value.address
    else:
        assert bytes(expected) == space.read(address, length)


@given(segments(), st.integers(0, _SPAN), st.integers(0, _SPAN))
def test_a_read_gives_the_bytes_up_to_the_first_hole(
    parts: dict[int, bytes], address: int, length: int
) -> None:
    expect_read(SegmentedAddressSpace(parts), readable(parts), address, length)


@given(segments(), st.integers(0, _SPAN), st.integers(1, _SPAN))
def test_read_exact_gives_all_or_names_the_first_hole(
    parts: dict[int, bytes], address: int, length: int
) -> None:
    cells = readable(parts)
    space = SegmentedAddressSpace(parts, FaultReason.EXCLUDED)
    missing = [a for a in range(address, address + length) if a not in cells]
    if not missing:
        assert bytes(cells[address + i] for i in range(length)) == space.read_exact(address, length)
        return
    with pytest.raises(MemoryFault) as caught:
        space.read_exact(address, length)
    assert (missing[0], FaultReason.EXCLUDED) == (caught.value.address, caught.value.reason)


@given(segments(), st.binary(max_size=12), st.integers(0, _SPAN), st.integers(0, _SPAN), st.data())
def test_an_overlay_hides_what_is_below_it_and_nothing_else(
    parts: dict[int, bytes], piece: bytes, at: int, address: int, data: st.DataObject
) -> None:
    cells = readable(parts) | {at + i: byte for i, byte in enumerate(piece)}
    space = OverlaidAddressSpace(SegmentedAddressSpace(parts), at, piece)
    expect_read(space, cells, address, data.draw(st.integers(0, _SPAN)))


def test_overlapping_segments_are_refused() -> None:
    with pytest.raises(ValueError, match="0x1004"):
        SegmentedAddressSpace({0x1000: b"12345", 0x1004: b"67"})


def test_empty_segments_are_of_no_account() -> None:
    assert SegmentedAddressSpace({1: b"", 2: b"ab", 3: b""}).read(2, 9) == b"ab"


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_unsigned_integers_come_in_both_byte_orders(order: ByteOrder, size: int) -> None:
    value = int.from_bytes(bytes(range(0xF8, 0x100))[:size], "big")
    space = SegmentedAddressSpace({0x10: value.to_bytes(size, order)})
    assert value == space.read_uint(0x10, size, order)


def test_a_string_ends_at_its_nul_the_limit_or_a_hole() -> None:
    space = SegmentedAddressSpace({0: b"bash\0junk", 100: b"init"})
    assert space.read_cstring(0, 16) == b"bash"
    assert space.read_cstring(0, 2) == b"ba"
    assert space.read_cstring(100, 16) == b"init"
    with pytest.raises(MemoryFault):
        space.read_cstring(50, 16)


def test_a_fault_says_where_why_and_in_the_readers_words() -> None:
    fault = MemoryFault(0xABC0, FaultReason.TRUNCATED, "past end of file")
    expected = "cannot read memory at 0xabc0: dump file ends before this page (truncated)"
    assert f"{expected} (past end of file)" == str(fault)
    assert expected == str(MemoryFault(0xABC0, FaultReason.TRUNCATED))
