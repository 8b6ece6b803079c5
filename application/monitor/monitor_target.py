"""What monitor commands act on: a session, its dump, and how arguments are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.ports.crash_dump import CrashDump

_DIGITS = frozenset("0123456789")
_HEX_DIGITS = _DIGITS | frozenset("abcdefABCDEF")
_SHOWN = 40  # characters of a wrong argument that are shown


class Switchable(Protocol):
    """The parts of a session that commands read and change."""

    @property
    def physical_mode(self) -> bool:
        """Whether addresses are physical."""

    def set_physical_mode(self, physical: bool) -> None:
        """Let addresses be physical or virtual from now on."""

    def read_memory(self, address: int, length: int) -> bytes:
        """Return the readable bytes at `address`."""


@dataclass(frozen=True, slots=True)
class MonitorTarget:
    """A session on a dump's memory; `root_table` is its process's page table, None the kernel's.

    `shown` says in words what the session shows, `current` which thread is current and why.
    """

    session: Switchable
    memory: DumpMemory
    root_table: RootTable | None
    shown: str
    current: str

    @property
    def dump(self) -> CrashDump:
        """The dump that the memory is of."""
        return self.memory.dump


def expect(usage: str, arguments: Sequence[str], count: int) -> None:
    """Raise `InputError` unless there are so many arguments."""
    if len(arguments) != count:
        raise InputError(f"usage: monitor {usage}")


def address_of(text: str) -> int:
    """Return an address of 64 bits, hex with or without 0x; raise `InputError` else."""
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    # int() would take signs, blanks, underscores and other scripts' digits.
    if not 1 <= len(digits) <= 16 or not set(digits) <= _HEX_DIGITS:
        raise InputError(
            f"'{printable(text[:_SHOWN])}' is no address; give one such as 0xffff888000001000,"
            ' or let gdb put it in: eval "monitor vtop %p", $sp'
        )
    return int(digits, 16)


def length_of(text: str) -> int:
    """Return a number of bytes, decimal or with 0x; raise `InputError` else."""
    if text[:2] in ("0x", "0X"):
        return address_of(text)
    if not 1 <= len(text) <= 16 or not set(text) <= _DIGITS:
        shown = printable(text[:_SHOWN])
        raise InputError(f"'{shown}' is no length; give one such as 256 or 0x100")
    return int(text)
