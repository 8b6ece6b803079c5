"""What monitor commands act on: a session, its dump, and how arguments are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kdump_gdbserver.application.client_symbols import ClientSymbols
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.physical_memory import PhysicalMemory

_DIGITS = frozenset("0123456789")
_HEX_DIGITS = _DIGITS | frozenset("abcdefABCDEF")
_HIGHEST = (1 << 64) - 1
_LONGEST = 20  # digits of the highest address in decimal
_SHOWN = 40  # characters of a wrong argument that are shown


class Readable(Protocol):
    """The part of a session that commands use."""

    def read_memory(self, address: int, length: int) -> bytes:
        """Return the readable bytes at `address`."""


@dataclass(frozen=True, slots=True)
class MonitorTarget:
    """A session on a dump's memory; `root_table` is its process's page table, None the kernel's.

    `shown` says in words what the session shows, `current` which thread is current and why,
    `unwind_data` what debuggers are given to unwind by, `text` where the kernel's image is,
    `symbols` where its symbols and types are from, `served` what debuggers get for its program,
    `client_symbols` what is known of those that the debugger has.
    """

    session: Readable
    physical: PhysicalMemory
    memory: DumpMemory
    root_table: RootTable | None
    shown: str
    current: str
    unwind_data: str = ""
    text: str | None = None
    symbols: Callable[[], str] | None = None
    served: Callable[[], str] | None = None
    client_symbols: ClientSymbols | None = None

    @property
    def dump(self) -> CrashDump:
        """The dump that the memory is of."""
        return self.memory.dump


def expect(usage: str, arguments: Sequence[str], count: int) -> None:
    """Raise `InputError` unless there are `count` arguments."""
    if len(arguments) != count:
        raise InputError(f"usage: monitor {usage}")


def address_of(text: str, command: str) -> int:
    """Return a 64-bit address; raise `InputError` if the word is not one.

    As in gdb, digits alone are decimal and 0x makes them hex; a word with a letter in it can only
    be hex, as in the kernel's log. Digits after a leading zero are octal in gdb but hex in the log,
    so they are refused. `command` is the format for gdb's `eval`, with %p for the address: the
    server has no symbols and cannot ask gdb for them during a command.
    """
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    # int() would take signs, blanks, underscores and other scripts' digits.
    if digits and set(digits) <= _HEX_DIGITS:
        base = 10 if digits is text and set(digits) <= _DIGITS else 16
        if base == 10 and digits[0] == "0" and len(digits) > 1:
            shown, plain = digits[:_SHOWN], digits.lstrip("0")[:_SHOWN] or "0"
            raise InputError(
                f"'{shown}' may be hex or decimal; type 0x{shown} for hex, {plain} for decimal"
            )
        if len(digits) <= _LONGEST and (address := int(digits, base)) <= _HIGHEST:
            return address
    shown = printable(text[:_SHOWN])
    expression = text if text == shown else "EXPRESSION"
    raise InputError(
        f"'{shown}' is no address; give one such as 0xffff888000001000, or let gdb work it out:"
        f' eval "monitor {command}", {expression}'
    )


def length_of(text: str) -> int:
    """Return a number of bytes, decimal or with 0x; raise `InputError` else."""
    hexadecimal = text[:2] in ("0x", "0X")
    digits = text[2:] if hexadecimal else text
    allowed = _HEX_DIGITS if hexadecimal else _DIGITS
    if not 1 <= len(digits) <= 16 or not set(digits) <= allowed:
        shown = printable(text[:_SHOWN])
        raise InputError(f"'{shown}' is no length; give one such as 256 or 0x100")
    return int(digits, 16 if hexadecimal else 10)
