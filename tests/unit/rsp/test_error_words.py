"""Why memory cannot be read: other words for each reason, where the client takes words."""

from __future__ import annotations

import dataclasses
import re

import pytest

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from tests.support.sessions import GDB, Debugger, view_of

ADDRESS = 0xFFFF888000001000


class Faulting(AddressSpace):
    """Memory that has no byte, for one reason."""

    def __init__(self, reason: FaultReason) -> None:
        self._reason = reason

    def read(self, address: int, length: int) -> bytes:
        raise MemoryFault(address, self._reason, "level 1 entry is 0x$#")


def debugger_of(reason: FaultReason) -> Debugger:
    return Debugger(dataclasses.replace(view_of(), open_memory=lambda: Faulting(reason)))


@pytest.mark.parametrize("packet", [b"m", b"x"])
def test_every_reason_has_its_own_words_for_gdb(packet: bytes) -> None:
    told = {}
    for reason in FaultReason:
        debugger = debugger_of(reason)
        debugger.start(*GDB)
        told[reason] = debugger.data(packet + b"%x,8" % ADDRESS)
        assert told[reason].startswith(b"E.cannot read memory at 0xffff888000001000: ")
        assert reason.value.encode() in told[reason]
    assert len(set(told.values())) == len(FaultReason) >= 6


def test_every_reason_has_its_own_words_for_lldb() -> None:
    told = set()
    for reason in FaultReason:
        debugger = debugger_of(reason)
        assert debugger.data(b"QEnableErrorStrings") == b"OK"
        reply = debugger.data(b"m%x,8" % ADDRESS)
        match = re.fullmatch(rb"E0e;([0-9a-f]+)", reply)
        assert match, reply
        told.add(bytes.fromhex(match[1].decode()))
    assert len(told) == len(FaultReason)


def test_an_older_client_gets_a_number() -> None:
    for reason in FaultReason:
        debugger = debugger_of(reason)
        debugger.start(b"multiprocess+")
        assert debugger.data(b"m%x,8" % ADDRESS) == b"E0e"
