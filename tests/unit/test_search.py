"""qSearch:memory is fast, and right at the seams of what it reads."""

from __future__ import annotations

import time

import pytest

from kdump_gdbserver.adapters.rsp_tcp import handlers_search
from tests.support.sessions import GDB, Debugger, view_of

BASE = 0x10000


def search(debugger: Debugger, start: int, length: int, pattern: bytes) -> bytes:
    return debugger.data(b"qSearch:memory:%x;%x;%b" % (start, length, pattern))


def test_a_match_across_two_chunks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_search, "_CHUNK", 16)
    debugger = Debugger(view_of({BASE: b"." * 14 + b"needle" + b"." * 100}))
    debugger.start(*GDB)
    assert search(debugger, BASE, 120, b"needle") == b"1,%x" % (BASE + 14)
    assert search(debugger, BASE, 19, b"needle") == b"0"
    assert search(debugger, BASE, 20, b"needle") == b"1,%x" % (BASE + 14)
    assert search(debugger, BASE + 15, 100, b"needle") == b"0"


def test_256_mib_in_well_under_a_second() -> None:
    size = 256 << 20
    debugger = Debugger(view_of({0: bytes(size - 8) + b"\x7fneedle\x7f"}))
    debugger.start(*GDB)
    started = time.perf_counter()
    assert search(debugger, 0, size, b"needle\x7f") == b"1,%x" % (size - 7)
    assert time.perf_counter() - started < 1
