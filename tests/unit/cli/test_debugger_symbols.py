"""Whether the debugger has the kernel's symbols, by what it says of one."""

from __future__ import annotations

import pytest

from kdump_gdbserver.application.debugger_symbols import DebuggerSymbols

LINKED, OFFSET = 0xFFFF_FFFF_8100_4000, 0x1C00_0000
THERE = LINKED + OFFSET


def note(*told: int | None, there: int | None = THERE, offset: int | None = OFFSET) -> str:
    asked: list[str] = []

    def find(name: str) -> int | None:
        asked.append(name)
        return there

    symbols = DebuggerSymbols(find, offset)
    (name,) = symbols.wanted
    for address in told:
        symbols.tell(name, address)
    symbols.tell("another", 1)
    assert asked == []  # it takes long, and most never ask
    return symbols.note


@pytest.mark.parametrize("told", [(), (None,), (LINKED, None), (THERE,), (LINKED, THERE)])
def test_nothing_is_said_of_symbols_that_are_right_or_not_there(told: tuple[int | None]) -> None:
    assert note(*told) == ""


def test_nothing_is_said_where_the_dump_does_not_tell() -> None:
    assert note(THERE + 64, there=None) == ""


def test_symbols_that_gdb_did_not_move() -> None:
    assert note(THERE, LINKED) == (
        "loaded after target remote, which gdb moves to the kernel only by"
        " file <vmlinux> -o 0x1c000000"
    )


@pytest.mark.parametrize("offset", [OFFSET, 0, None])
def test_symbols_of_another_kernel(offset: int | None) -> None:
    assert note(THERE + 64, offset=offset) == (
        "not of this kernel: panic is at 0xffffffff9d004000 here, at 0xffffffff9d004040 there;"
        " load the vmlinux of this dump, then target remote"
    )
