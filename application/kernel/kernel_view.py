"""Kernel mode: kernel memory, and one thread for each CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.application.kernel.entry_code import with_entry_code
from kdump_gdbserver.application.kernel.kernel_files import MakeProgram, identity
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey, survey_kernel
from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.application.kernel.os_tables import cpu_table
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.arch.model import RegisterLayout
from kdump_gdbserver.domain.placement import Placement
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import Thread, ThreadId, ThreadTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.symbol_file import SymbolFile

# The kernel is gdb's inferior 1.
KERNEL_PID = 1


def open_kernel_view(
    dump: CrashDump,
    symbol_file: SymbolFile | None = None,
    make_program: MakeProgram = identity,
) -> View:
    """Return the view of a dump's kernel: threads 1.1, 1.2, ... are its CPUs in order.

    `symbol_file` is as in `survey_kernel`; `make_program` makes what debuggers get for the
    kernel's program.
    """
    return kernel_view(dump, survey_kernel(dump, symbol_file), symbol_file, make_program)


def kernel_view(
    dump: CrashDump,
    survey: KernelSurvey,
    symbol_file: SymbolFile | None,
    make_program: MakeProgram,
    sleeping: Iterable[int] = (),
) -> View:
    """Return the view of a kernel that has been surveyed.

    `sleeping` are the stack pointers of tasks that no CPU ran and that are to be shown, too.
    """
    arch = dump.facts.arch
    # QEMU has a note for each CPU, in order.
    notes = dump.cpu_notes() if dump.facts.hypervisor else ()
    same = arch.machine_registers(dump.vmcoreinfo)
    more = {note.index: {**note.control, **same} for note in notes}
    layout = arch.layout_for(
        name
        for values in (*(cpu.registers for cpu in survey.cpus), *more.values(), same)
        for name in values
    )
    threads = ThreadTable(
        _cpu_thread(cpu, ThreadId(KERNEL_PID, number), layout, more.get(cpu.number, same))
        for number, cpu in enumerate(survey.cpus, start=1)
    )
    text = _text_segment(dump, survey, symbol_file)
    program = make_program(survey.dump_memory, text)
    view = View(
        arch=arch,
        layout=layout,
        threads=threads,
        current=threads[survey.panic.index],
        open_memory=survey.dump_memory.kernel,
        current_reason=survey.panic.reason,
        placement=Placement(dump.vmcoreinfo.kaslr_offset, text),
        text="not known: nothing in the dump proves it" if text is None else f"{text:#x}",
        symbols=_source(dump, survey.dump_memory, symbol_file),
        facts=dump.facts,
        addressing_bits=arch.addressing_bits(dump.vmcoreinfo),
        dump_memory=survey.dump_memory,
        os_tables=(cpu_table(survey.cpus),),
        served=program.describe,
    )
    return with_entry_code(view, survey, program, sleeping)


def _source(
    dump: CrashDump, memory: DumpMemory, symbol_file: SymbolFile | None
) -> Callable[[], str]:
    """Return what tells where symbols and types are from.

    It reads them again. The survey's are not kept: 7 MiB for a line that few ask for.
    """

    @functools.cache
    def source() -> str:
        info, arch = dump.vmcoreinfo, dump.facts.arch
        return KernelSymbols(memory.kernel(), info, arch, symbol_file).source

    return source


def _cpu_thread(
    cpu: Cpu, thread_id: ThreadId, layout: RegisterLayout, more: Mapping[str, int]
) -> Thread:
    if cpu.pid is None:
        doing = ""
    else:
        doing = f" pid {cpu.pid}" if cpu.pid else " idle"
    return Thread(
        thread_id,
        lambda: RegisterSet.from_values(layout, {**cpu.registers, **more}),
        extra=f"CPU #{cpu.number}{doing}" if cpu.has_note else "no CPU registers in the dump",
        core=cpu.number if cpu.has_note else None,
    )


def _text_segment(
    dump: CrashDump, survey: KernelSurvey, symbol_file: SymbolFile | None
) -> int | None:
    """Return where the vmlinux's first PT_LOAD is at run time, None where nothing proves it."""
    offset, arch = dump.vmcoreinfo.kaslr_offset, dump.facts.arch
    if symbol_file is not None and offset is not None:
        return (symbol_file.first_segment + offset) & arch.pointer_mask
    return survey.symbols.symbol(arch.first_symbol)
