"""qSearch:memory and qCRC, over memory with holes."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp import handlers_search
from kdump_gdbserver.domain.memory_map import MemoryRegion
from tests.support.sessions import GDB, Debugger, view_of

BASE = 0x10000


def searcher(segments: Mapping[int, bytes]) -> Debugger:
    debugger = Debugger(view_of(segments))
    debugger.start(*GDB)
    return debugger


def search(debugger: Debugger, start: int, length: int, pattern: bytes) -> bytes:
    return debugger.data(b"qSearch:memory:%x;%x;%b" % (start, length, pattern))


pieces = st.lists(
    st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=40)), min_size=1, max_size=6
)


@given(pieces, st.binary(min_size=1, max_size=3), st.integers(0, 100), st.integers(0, 40000))
def test_finds_what_a_search_of_each_run_finds(
    parts: list[tuple[int, bytes]], pattern: bytes, start: int, length: int
) -> None:
    segments: dict[int, bytes] = {}
    at = BASE
    for gap, data in parts:  # a gap of whole pages, so that no page is half there
        at = -(-at // 4096) * 4096 + gap * 4096 if gap else at
        segments[at] = data
        at += len(data)
    first, end = BASE + start, BASE + start + length
    runs: list[tuple[int, bytes]] = []
    for address, data in sorted(segments.items()):
        if runs and runs[-1][0] + len(runs[-1][1]) == address:
            runs[-1] = (runs[-1][0], runs[-1][1] + data)
        else:
            runs.append((address, data))
    found = []
    for address, data in runs:
        low, high = max(first, address), min(end, address + len(data))
        at = data[: max(high - address, 0)].find(pattern, max(low - address, 0))
        if at >= 0:
            found.append(address + at)
    expected = b"1,%x" % min(found) if found else b"0"
    assert search(searcher(segments), first, length, pattern) == expected


def test_a_match_across_two_chunks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_search, "_CHUNK", 16)
    debugger = searcher({BASE: b"." * 14 + b"needle" + b"." * 100})
    assert search(debugger, BASE, 120, b"needle") == b"1,%x" % (BASE + 14)
    assert search(debugger, BASE, 19, b"needle") == b"0"
    assert search(debugger, BASE, 20, b"needle") == b"1,%x" % (BASE + 14)
    assert search(debugger, BASE + 15, 100, b"needle") == b"0"


def test_patterns_with_any_byte() -> None:
    pattern = b"#$}*\0;:,\xff"
    debugger = searcher({BASE: b"\0" * 100 + pattern})
    assert search(debugger, BASE, 200, pattern) == b"1,%x" % (BASE + 100)


def test_the_top_of_the_address_space_ends_the_search() -> None:
    top = (1 << 64) - 4096
    debugger = searcher({top: b"x" * 4095 + b"y"})
    assert search(debugger, top, 1 << 62, b"y") == b"1,%x" % ((1 << 64) - 1)
    assert search(debugger, top, 1 << 62, b"z") == b"0"


class OneHole:
    """Everything but a page at BASE is one hole; counts questions."""

    def __init__(self) -> None:
        self.asked = 0

    def region(self, address: int) -> MemoryRegion:
        self.asked += 1
        if address < 1 << 47:
            return MemoryRegion(0, 1 << 47)
        return MemoryRegion(1 << 47, 1 << 48)


def test_holes_are_passed_over_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    debugger = searcher({1 << 47: b"found"})
    memory_map = OneHole()
    monkeypatch.setattr(
        type(debugger.connection._client.session), "memory_map", property(lambda _: memory_map)
    )
    assert search(debugger, 0, 1 << 48, b"found") == b"1,%x" % (1 << 47)
    assert memory_map.asked == 1


def test_256_mib_in_well_under_a_second() -> None:
    size = 256 << 20
    debugger = searcher({0: bytes(size - 8) + b"\x7fneedle\x7f"})
    started = time.perf_counter()
    assert search(debugger, 0, size, b"needle\x7f") == b"1,%x" % (size - 7)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "packet", [b"qSearch:memory:zz;10;x", b"qSearch:memory:0;10;", b"qSearch:memory:;;x"]
)
def test_nonsense_is_refused(packet: bytes) -> None:
    assert searcher({0: b"x"}).data(packet).startswith(b"E.")


def test_other_searches_are_not_supported() -> None:
    assert searcher({0: b"x"}).data(b"qSearch:registers:0;10;x") == b""


def reference_crc(data: bytes) -> int:
    """The manual's CRC, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


@given(st.binary(max_size=300))
def test_crc_is_the_manuals(data: bytes) -> None:
    debugger = searcher({BASE: data})
    assert debugger.data(b"qCRC:%x,%x" % (BASE, len(data))) == b"C%x" % reference_crc(data)


def test_crc_of_memory_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_search, "_CHUNK", 7)
    data = bytes(range(100))
    assert searcher({BASE: data}).data(b"qCRC:%x,64" % BASE) == b"C%x" % reference_crc(data)


def test_crc_over_a_hole_is_an_error() -> None:
    debugger = searcher({BASE: b"x" * 10})
    assert b"0x1000a" in debugger.data(b"qCRC:%x,b" % BASE)
