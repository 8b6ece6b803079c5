"""`x`, `qSearch:memory` and `qCRC`: memory in other forms than hex digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.packets import search as search_packets
from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE
from kdump_gdbserver.application.view import ViewSession
from kdump_gdbserver.ports.memory_map import MemoryRegion
from tests.support.sessions import GDB, Debugger, view_of

BASE = 0xFFFFFFFF81000000


def cells_of(segments: dict[int, bytes]) -> dict[int, int]:
    return {at + i: byte for at, data in segments.items() for i, byte in enumerate(data)}


@st.composite
def memories(draw: st.DrawFn) -> dict[int, bytes]:
    """Segments of few different bytes, so that patterns are there now and then."""
    segments, at = {}, BASE + draw(st.integers(0, 16))
    for _ in range(draw(st.integers(1, 4))):
        data = bytes(draw(st.lists(st.sampled_from(b"ab#}*$"), min_size=1, max_size=30)))
        segments[at] = data
        at += len(data)
        if draw(st.booleans()):
            at += 4096 * draw(st.integers(1, 3)) - at % 4096  # a hole up to a page's start
    return segments


def first_match(cells: dict[int, int], start: int, length: int, pattern: bytes) -> int | None:
    """Look for a pattern the slow way."""
    for at in sorted(cells):
        inside = start <= at and at + len(pattern) <= start + length
        if inside and all(cells.get(at + i) == byte for i, byte in enumerate(pattern)):
            return at
    return None


patterns = st.lists(st.sampled_from(b"ab#}*$"), min_size=1, max_size=6).map(bytes)


@pytest.mark.parametrize("chunk", [1 << 20, 7])
@given(memories(), st.tuples(st.integers(0, 20), st.integers(0, 30000)), patterns)
def test_a_pattern_is_found_where_it_first_is(
    chunk: int, segments: dict[int, bytes], where: tuple[int, int], pattern: bytes
) -> None:
    # Where nothing tells how far a hole reaches, it is taken to end with its page.
    start, length = min(segments) + where[0], where[1]
    expected = first_match(cells_of(segments), start, length, pattern)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_packets, "_CHUNK", chunk)
        reply = Debugger(view_of(segments)).data(
            b"qSearch:memory:%x;%x;%b" % (start, length, pattern)
        )
    assert reply == (b"0" if expected is None else b"1,%x" % expected)


def test_a_search_does_not_leave_the_address_space() -> None:
    top = (1 << 64) - 0x2000
    debugger = Debugger(view_of({top: b"x" * 0x1FFF + b"y"}))
    ask = b"qSearch:memory:%x;ffffffffffffffff;%b"
    assert debugger.data(ask % (top, b"xy")) == b"1,fffffffffffffffe"
    assert debugger.data(ask % (top, b"yx")) == b"0"


@pytest.mark.parametrize("payload", [b"qSearch:memory:1000;10;", b"qSearch:memory:zz;10;a"])
def test_a_search_that_makes_no_sense_is_an_error(payload: bytes) -> None:
    assert Debugger(view_of()).data(payload)[:1] == b"E"


@given(memories(), st.integers(0, 40), st.integers(0, 200))
def test_binary_memory_is_the_dumps(segments: dict[int, bytes], start: int, length: int) -> None:
    cells, address = cells_of(segments), min(segments) + start
    expected = bytearray()
    while len(expected) < length and address + len(expected) in cells:
        expected.append(cells[address + len(expected)])
    debugger = Debugger(view_of(segments))
    features = debugger.start(*GDB)
    assert b"binary-upload+" in features.split(b";")
    reply = debugger.data(b"x%x,%x" % (address, length))
    if expected or not length:
        assert reply == b"b" + expected
    else:
        assert reply[:2] == b"E."


@pytest.mark.parametrize("byte", [b"\0", b"}", b"*"])
def test_a_binary_reply_is_no_longer_than_a_packet(byte: bytes) -> None:
    data = byte * (2 * PACKET_SIZE)
    debugger = Debugger(view_of({BASE: data}))
    debugger.start(*GDB)
    whole = b""
    while len(whole) < len(data):
        ask = b"x%x,%x" % (BASE + len(whole), len(data) - len(whole))
        reply = debugger.ask(ask)
        assert reply is not None
        assert PACKET_SIZE // 4 < len(reply) <= PACKET_SIZE or len(whole) > PACKET_SIZE
        whole += debugger.data(ask)[1:]
    assert whole == data


def crc32(data: bytes) -> int:
    """The CRC of the GDB manual, bit by bit: highest bit first, all ones to begin with."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


@pytest.mark.parametrize("chunk", [1 << 20, 7])
@given(st.binary(min_size=1, max_size=60), st.data())
def test_the_crc_is_the_manuals(chunk: int, memory: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(memory)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_packets, "_CHUNK", chunk)
        reply = Debugger(view_of({BASE: memory})).data(b"qCRC:%x,%x" % (BASE, length))
    assert reply[:1] == b"C"
    assert int(reply[1:], 16) == crc32(memory[:length])


def test_memory_with_a_hole_has_no_crc() -> None:
    debugger = Debugger(view_of({BASE: b"abc"}))
    assert debugger.data(b"qCRC:%x,3" % BASE)[:1] == b"C"
    assert debugger.data(b"qCRC:%x,4" % BASE) == b"E0e"


class CountingMap:
    """A memory map of one region with pages, none of which the dump has, then a hole."""

    def __init__(self, start: int, end: int) -> None:
        self.asked: list[int] = []
        self._start, self._end = start, end

    def region(self, address: int) -> MemoryRegion:
        self.asked.append(address)
        if self._start <= address < self._end:
            return MemoryRegion(self._start, self._end, "rw")
        return MemoryRegion(self._end, 1 << 64, "")


def test_pages_that_were_left_out_cost_no_walk_each() -> None:
    """A map is slow to ask: a thousand walks for each page would make a search seem to hang."""
    pages = 3000
    session = view_of().open_session()
    known = CountingMap(BASE, BASE + pages * 4096)
    found = search_packets.find_bytes(
        with_map(session, known), BASE + 5, BASE + (1 << 24), b"needle"
    )
    assert set(found) == {None}
    assert known.asked == [BASE, BASE + pages * 4096]


def test_a_search_looks_round_after_each_question_to_the_map() -> None:
    session = view_of().open_session()
    known = CountingMap(BASE, BASE)
    steps = search_packets.find_bytes(with_map(session, known), BASE, BASE + 4096, b"needle")
    assert next(steps) is None
    assert known.asked == [BASE]


def with_map(session: ViewSession, known: CountingMap) -> ViewSession:
    class Mapped(ViewSession):
        memory_map = known

    session.__class__ = Mapped
    return session
