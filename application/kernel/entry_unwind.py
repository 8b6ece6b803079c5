"""Call frame information for the kernel's assembly code, from the dump alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.application.kernel.uncovered import uncovered_rows
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.orc import (
    HEADER,
    HEADER_SIZE,
    OrcFormat,
    OrcKind,
    OrcRegister,
    format_by_header,
    recognize_format,
)
from kdump_gdbserver.domain.symbols.orc import OrcRow, OrcTables, to_rows
from kdump_gdbserver.domain.symbols.unwind_dso import unwind_image

# Entered from user mode only, or where a task starts: a stack's last function. No kernel has all of
# them (arch/x86/entry/entry_64*.S).
_LAST = (
    "entry_INT80_compat",
    "entry_SYSCALL_64",
    "entry_SYSCALL_compat",
    "entry_SYSENTER_compat",
    "ret_from_fork_asm",
    "rewind_stack_and_make_dead",
    "rewind_stack_do_exit",
)
# Calls a function on an interrupt stack (5.8 to 5.11).
_SWITCH = "asm_call_on_stack"
# Other assembly functions outside the entry text that show up in backtraces.
_OTHER = (
    "__switch_to_asm",
    _SWITCH,
    "preempt_schedule_notrace_thunk",
    "preempt_schedule_thunk",
    "secondary_startup_64",
)
# The symbols that are asked for here.
SYMBOLS = (
    *_LAST,
    *_OTHER,
    *HEADER,
    "__entry_text_end",
    "__entry_text_start",
    "__start_orc_unwind",
    "__start_orc_unwind_ip",
    "__stop_orc_unwind",
    "__stop_orc_unwind_ip",
    "ret_from_fork",
)
_MAX_ENTRY_TEXT = 1 << 20
_KERNEL_HALF = 1 << 63
_MAX_SWITCH = 64  # bytes
_CHANGE_STACK, _LEAVE = b"\x48\x89\xfc", b"\xc9"  # mov %rdi,%rsp; leave


class NoUnwindDataError(Exception):
    """There is no image; the text says why, and is "" where there is nothing to say."""


def entry_unwind_image(
    memory: AddressSpace,
    symbols: KernelSymbols,
    arch: Arch,
    base: int,
    *,
    user_pcs: Iterable[int] = (),
    running: Iterable[tuple[int, int]] = (),
) -> bytes:
    """Return an ELF image for address `base` by which debuggers unwind assembly code.

    It is of the x86_64 kernel's entry and start-up code; `user_pcs` are the pcs of CPUs in user
    mode, where their stacks are to end, `running` the (pc, sp) of the others. Raises
    `NoUnwindDataError` when the kernel has no ORC tables (CONFIG_UNWINDER_ORC, since 4.14), when
    their format is unknown, or when the dump has only part of them.
    """
    if not arch.has_orc:
        raise NoUnwindDataError("")
    try:
        addresses = symbols.symbols(SYMBOLS)
        rows = _rows(memory, symbols, addresses, running)
        switches = list(_switches(memory, addresses.get(_SWITCH), rows))
        return unwind_image(_without(rows, switches), base, user_pcs, switches)
    except LookupError as error:
        raise NoUnwindDataError(f"no address for {error.args[0]}") from None
    except (MemoryFault, ValueError) as error:
        raise NoUnwindDataError(str(error)) from None


def _format(memory: AddressSpace, addresses: Mapping[str, int], flags: set[int]) -> OrcFormat:
    header = addresses.get(HEADER[0])
    if header is None:
        return recognize_format(flags)
    return format_by_header(memory.read_exact(header, HEADER_SIZE))


def _rows(
    memory: AddressSpace,
    symbols: KernelSymbols,
    addresses: Mapping[str, int],
    running: Iterable[tuple[int, int]],
) -> list[OrcRow]:
    tables = OrcTables(
        memory,
        (addresses["__start_orc_unwind_ip"], addresses["__stop_orc_unwind_ip"]),
        (addresses["__start_orc_unwind"], addresses["__stop_orc_unwind"]),
    )
    low, high = addresses["__entry_text_start"], addresses["__entry_text_end"]
    if not _KERNEL_HALF <= low < high <= low + _MAX_ENTRY_TEXT:
        raise ValueError(f"entry text from {low:#x} to {high:#x}")
    entries = tables.slice(low, high)
    orc_format = _format(memory, addresses, {flags for *_, flags in entries})
    last = set(_LAST)
    if "ret_from_fork_asm" not in addresses:  # its name before 6.4 is ret_from_fork
        last.add("ret_from_fork")
    rows = to_rows(entries, low, high, orc_format)
    for name in sorted(last.union(_OTHER) & addresses.keys()):
        if addresses[name] < _KERNEL_HALF:
            continue
        with suppress(MemoryFault, ValueError):
            function = tables.function(addresses[name], orc_format)
            rows[:0] = _without_caller(function) if name in last else function
    with suppress(MemoryFault, ValueError):
        rows += uncovered_rows(memory, symbols, tables, orc_format, running)
    return list(_disjoint(rows))


def _without_caller(rows: Iterable[OrcRow]) -> Iterator[OrcRow]:
    """End the stack where the saved registers are those of user mode."""
    for row in rows:
        if row.kind in (OrcKind.REGS, OrcKind.REGS_PARTIAL):
            yield replace(row, kind=OrcKind.END_OF_STACK)
        else:
            yield row


def _switches(
    memory: AddressSpace, function: int | None, rows: Iterable[OrcRow]
) -> Iterator[range]:
    """Yield where the function is on another stack: from behind the change to behind `leave`."""
    end = (function or 0) + _MAX_SWITCH
    for row in rows:
        is_framed = row.kind is OrcKind.CALL and row.sp_register is OrcRegister.BP
        if function is not None and is_framed and function < row.start < row.end < end:
            with suppress(MemoryFault):
                code = memory.read_exact(row.start, row.end - row.start)
                changed = code.find(_CHANGE_STACK)
                if changed >= 0 and code.endswith(_LEAVE):
                    yield range(row.start + changed + len(_CHANGE_STACK), row.end)


def _without(rows: Iterable[OrcRow], holes: Iterable[range]) -> Iterator[OrcRow]:
    for row in rows:
        for hole in holes:
            if row.start < hole.start and hole.stop <= row.end:
                yield replace(row, end=hole.start)
                if hole.stop < row.end:
                    yield replace(row, start=hole.stop)
                break
        else:
            yield row


def _disjoint(rows: Iterable[OrcRow]) -> Iterator[OrcRow]:
    """Put rows in order of address; where two overlap, the one given first stays."""
    end = 0
    for row in sorted(rows, key=lambda row: row.start):
        if row.start >= end:
            yield row
            end = row.end
