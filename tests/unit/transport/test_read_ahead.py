"""What is read ahead is what would have been read when it was asked for."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.read_ahead import ReadAhead
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import GDB, Debugger, view_of

BASE, PIECE, PIECES = 0x10000, 0x1000, 8
DATA = random.Random(4).randbytes(PIECE * PIECES // 2) + bytes(PIECE * PIECES // 2)


class CountedMemory(AddressSpace):
    """Memory that remembers where it was read."""

    def __init__(self) -> None:
        self.below = SegmentedAddressSpace({BASE: DATA})
        self.reads: list[int] = []

    def read(self, address: int, length: int) -> bytes:
        self.reads.append(address)
        return self.below.read(address, length)


def begun(debugger: Debugger) -> Debugger:
    debugger.start(*GDB)
    debugger.ask(b"QStartNoAckMode")
    debugger.acknowledged = False
    return debugger


def debugger_on(memory: AddressSpace) -> Debugger:
    return begun(Debugger(dataclasses.replace(view_of({}), open_memory=lambda: memory)))


def reads(kind: bytes) -> list[bytes]:
    return [b"%b%x,%x" % (kind, BASE + PIECE * number, PIECE) for number in range(PIECES + 1)]


@pytest.mark.parametrize("kind", [b"m", b"x"])
def test_the_third_read_in_a_row_is_there_before_it_is_asked_for(kind: bytes) -> None:
    memory = CountedMemory()
    debugger = debugger_on(memory)
    expected = debugger_on(SegmentedAddressSpace({BASE: DATA}))
    for number, payload in enumerate(reads(kind)):
        before = len(memory.reads)
        assert debugger.ask(payload) == expected.ask(payload)
        asked = len(memory.reads) - before
        # The last one, behind the end, fails, and what fails is not kept.
        assert asked == (0 if 2 <= number < PIECES else 1)
        debugger.connection.work_ahead()
        debugger.connection.work_ahead()


def test_nothing_is_read_ahead_of_small_reads_or_of_leaps() -> None:
    memory = CountedMemory()
    debugger = debugger_on(memory)
    for payload in (b"m10000,8", b"m10008,8", b"m10010,8", b"m12000,1000", b"m14000,1000", b"qC"):
        before = len(memory.reads)
        debugger.connection.work_ahead()
        assert len(memory.reads) == before
        debugger.ask(payload)


def test_a_reply_is_not_kept_for_longer_than_the_next_packet() -> None:
    memory = CountedMemory()
    view = dataclasses.replace(
        view_of({}), open_memory=lambda: memory, dump_memory=DumpMemory(fake_kernel().dump())
    )
    debugger = begun(Debugger(view))
    first, second, third, *_ = reads(b"m")
    assert len(debugger.data(first)) == len(debugger.data(second)) == 2 * PIECE
    debugger.connection.work_ahead()
    assert memory.reads == [BASE, BASE + PIECE, BASE + 2 * PIECE]
    assert debugger.ask(b"Qqemu.PhyMemMode:1") == b"OK"
    assert debugger.data(third)[:2] == b"E."  # there is no such physical memory
    assert debugger.ask(b"Qqemu.PhyMemMode:0") == b"OK"
    assert len(debugger.data(third)) == 2 * PIECE


_packets = st.one_of(
    st.sampled_from([*reads(b"m"), *reads(b"x")]),
    st.sampled_from([b"qC", b"m10000,8", b"?", b"Hg0", b"m0,1000", b"mfffffffffffff000,1000"]),
)


@given(st.lists(st.tuples(st.one_of(_packets, st.sampled_from([b""])), st.booleans()), max_size=20))
def test_replies_do_not_depend_on_it(packets: list[tuple[bytes, bool]]) -> None:
    ahead, plain = debugger_on(CountedMemory()), debugger_on(CountedMemory())
    following = [b"", *reads(b"m")]
    for payload, work in packets:
        assert ahead.ask(payload) == plain.ask(payload)
        if work:
            ahead.connection.work_ahead()
    for payload in following:
        assert ahead.ask(payload) == plain.ask(payload)
        ahead.connection.work_ahead()


def test_any_bytes_may_be_a_packet() -> None:
    ahead = ReadAhead()
    packets: list[Any] = [b"", b"m", b"mzz,1000", b"m0", b"m0,ffffffffffffffff", b"x,"]
    for payload in packets * 2:
        assert ahead.take(payload) is None
