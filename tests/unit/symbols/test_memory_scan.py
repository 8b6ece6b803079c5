"""Reading long stretches of memory that have holes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.symbols import memory_scan
from kdump_gdbserver.domain.symbols.memory_scan import readable_before, readable_pieces

START = 0xFFFF800008000000
PAGE = 4096
layouts = st.lists(st.tuples(st.integers(16, 60), st.integers(1, 700)), min_size=1, max_size=4)


def laid_out(layout: list[tuple[int, int]]) -> tuple[dict[int, bytes], int]:
    """Return pieces of memory of so many pages, each behind a hole of so many, and the end."""
    segments, at = {}, START
    for pages, hole in layout:
        at += hole * PAGE
        segments[at] = b"".join((at + n * PAGE).to_bytes(8) * (PAGE // 8) for n in range(pages))
        at += pages * PAGE
    return segments, at


@given(layouts, st.sampled_from([0, 10, 5000]))
def test_every_piece_behind_a_hole_is_read_from_its_beginning(
    layout: list[tuple[int, int]], overlap: int
) -> None:
    segments, end = laid_out(layout)
    pieces = list(readable_pieces(SegmentedAddressSpace(segments), START, end, overlap))
    for at, data in pieces:
        inside = next(start for start in segments if start <= at < start + len(segments[start]))
        assert segments[inside][at - inside :].startswith(data)
    read = {START: b""} | dict(pieces)
    for start, data in segments.items():
        assert read[start] == data[: len(read[start])]
        assert sum(len(piece) for at, piece in pieces if start <= at < start + len(data)) >= len(
            data
        )


def test_a_large_piece_behind_a_very_long_hole_is_read_from_its_beginning() -> None:
    data = bytes(range(256)) * (1 << 13)
    at = START + (100 << 20) + 3 * PAGE
    pieces = list(readable_pieces(SegmentedAddressSpace({at: data}), START, at + (1 << 30)))
    assert pieces[0][0] == at
    assert b"".join(piece for _, piece in pieces) == data


class Counting(AddressSpace):
    def __init__(self) -> None:
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        return SegmentedAddressSpace({}).read(address, length)


def test_nothing_but_holes_is_passed_in_long_steps() -> None:
    memory = Counting()
    assert list(readable_pieces(memory, START, START + (1 << 30))) == []
    assert memory.reads < 700  # of a page each: 262,144


def test_pieces_overlap_as_asked() -> None:
    size = memory_scan._PIECE + 100
    memory = SegmentedAddressSpace({START: bytes(range(256)) * (size // 256 + 1)})
    pieces = list(readable_pieces(memory, START, START + size, 50))
    assert [(at - START, len(data)) for at, data in pieces] == [
        (0, memory_scan._PIECE),
        (memory_scan._PIECE - 50, 150),
    ]


@given(st.integers(0, 3000), st.integers(1, 5000), st.integers(0, 9000))
def test_what_is_before_an_address_is_read_up_to_a_hole(hole: int, pages: int, back: int) -> None:
    pages = pages % 50 + 1
    data = bytes(range(256)) * (16 * pages)
    memory = SegmentedAddressSpace({START: data})
    read = readable_before(memory, START + len(data), back * 100)
    assert data.endswith(read)
    assert len(data) - PAGE < len(read) or len(read) == min(back * 100, len(data))
    try:
        memory.read(START - 1 - hole, 1)
    except MemoryFault:
        return
    raise AssertionError
