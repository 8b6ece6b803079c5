"""Call frame information for the kernel's assembly code, from the dump alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.orc import (
    HEADER,
    HEADER_SIZE,
    OrcFormat,
    OrcKind,
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
# Other assembly functions outside the entry text that show up in backtraces.
_OTHER = (
    "__switch_to_asm",
    "asm_call_on_stack",
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


class NoUnwindDataError(Exception):
    """There is no image; the text says why, and is "" where there is nothing to say."""


def entry_unwind_image(
    memory: AddressSpace,
    symbols: KernelSymbols,
    arch: Arch,
    base: int,
    user_pcs: Iterable[int] = (),
) -> bytes:
    """Return an ELF image for address `base` by which debuggers unwind assembly code.

    It is of the x86_64 kernel's entry and start-up code; `user_pcs` are the pcs of CPUs in user
    mode, where their stacks are to end. Raises `NoUnwindDataError` when the kernel has no ORC
    tables (CONFIG_UNWINDER_ORC, since 4.14), when their format is unknown, or when the dump has
    only part of them.
    """
    if not arch.has_orc:
        raise NoUnwindDataError("")
    try:
        return unwind_image(_rows(memory, symbols.symbols(SYMBOLS)), base, user_pcs)
    except LookupError as error:
        raise NoUnwindDataError(f"no address for {error.args[0]}") from None
    except (MemoryFault, ValueError) as error:
        raise NoUnwindDataError(str(error)) from None


def _format(memory: AddressSpace, addresses: Mapping[str, int], flags: set[int]) -> OrcFormat:
    header = addresses.get(HEADER[0])
    if header is None:
        return recognize_format(flags)
    return format_by_header(memory.read_exact(header, HEADER_SIZE))


def _rows(memory: AddressSpace, addresses: Mapping[str, int]) -> list[OrcRow]:
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
    return list(_disjoint(rows))


def _without_caller(rows: Iterable[OrcRow]) -> Iterator[OrcRow]:
    """End the stack where the saved registers are those of user mode."""
    for row in rows:
        if row.kind in (OrcKind.REGS, OrcKind.REGS_PARTIAL):
            yield replace(row, kind=OrcKind.END_OF_STACK)
        else:
            yield row


def _disjoint(rows: Iterable[OrcRow]) -> Iterator[OrcRow]:
    """Put rows in order of address; where two overlap, the one given first stays."""
    end = 0
    for row in sorted(rows, key=lambda row: row.start):
        if row.start >= end:
            yield row
            end = row.end
