"""qSearch:memory is fast, and right at the seams of what it reads."""

from __future__ import annotations

import time

import pytest

from kdump_gdbserver.adapters.rsp_tcp.packets import search as search_packets
from tests.support.sessions import GDB, Debugger, view_of

BASE = 0x10000


def search(debugger: Debugger, start: int, length: int, pattern: bytes) -> bytes:
    return debugger.data(b"qSearch:memory:%x;%x;%b" % (start, length, pattern))


def test_a_match_across_two_chunks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_packets, "_CHUNK", 16)
    debugger = Debugger(view_of({BASE: b"." * 14 + b"needle" + b"." * 100}))
    debugger.start(*GDB)
    assert search(debugger, BASE, 120, b"needle") == b"1,%x" % (BASE + 14)
    assert search(debugger, BASE, 19, b"needle") == b"0"
    assert search(debugger, BASE, 20, b"needle") == b"1,%x" % (BASE + 14)
    assert search(debugger, BASE + 15, 100, b"needle") == b"0"


def test_256_mib_are_read_a_mebibyte_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they take well under a second. Counted in reads: a clock tells of other programs, too."""
    size = 256 << 20
    debugger = Debugger(view_of({0: bytes(size - 8) + b"\x7fneedle\x7f"}))
    debugger.start(*GDB)
    session = debugger.connection._client.session
    read, reads = session.read_memory, []

    def read_and_count(address: int, length: int) -> bytes:
        reads.append(length)
        return read(address, length)

    monkeypatch.setattr(session, "read_memory", read_and_count)
    started = time.thread_time()
    assert search(debugger, 0, size, b"needle\x7f") == b"1,%x" % (size - 7)
    assert len(reads) <= size >> 20
    assert time.thread_time() - started < 10  # measured: 0.14 s
