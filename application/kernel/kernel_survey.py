"""What a kernel's dump says about its CPUs, looked up once for all views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kdump_gdbserver.application.kernel import cpus as cpu_numbers
from kdump_gdbserver.application.kernel import entry_unwind, panic_cpu
from kdump_gdbserver.application.kernel.cpus import Cpu, identify_cpus
from kdump_gdbserver.application.kernel.kernel_symbols import (
    KernelSymbols,
    kernel_memory,
)
from kdump_gdbserver.application.kernel.panic_cpu import PanicCpu, find_panic_cpu
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.kernel.symbols import Symbols
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.symbol_file import SymbolFile


@dataclass(frozen=True, slots=True)
class KernelSurvey:
    """A dump's memory, that of its kernel, symbols and CPUs, and which of these panicked."""

    dump_memory: DumpMemory
    memory: AddressSpace
    symbols: KernelSymbols
    cpus: Sequence[Cpu]
    panic: PanicCpu


def survey_kernel(dump: CrashDump, symbol_file: SymbolFile | None = None) -> KernelSurvey:
    """Survey a dump.

    `symbol_file` (a vmlinux) helps where the kernel's own symbol table is not found, or has only
    functions.
    """
    arch = dump.facts.arch
    dump_memory = DumpMemory(dump)
    memory = dump_memory.kernel()
    # All that will be asked for one by one, here and by the views: looking it up together is
    # faster.
    entry = arch.entry_code.names if arch.entry_code else entry_unwind.SYMBOLS
    names = (*cpu_numbers.SYMBOLS, *panic_cpu.SYMBOLS, *entry, arch.first_symbol)
    symbols = KernelSymbols(memory, dump.vmcoreinfo, arch, symbol_file, names)
    kernel = Symbols(symbols, kernel_memory(memory, arch), dump.vmcoreinfo)
    cpus = identify_cpus(dump.cpu_notes(), arch, dump.facts.hypervisor, kernel)
    if not cpus:
        # gdb cannot attach without a thread that has a pc; the dump has memory to look at.
        cpus = [Cpu(0, None, {arch.pc: 0}, has_note=False)]
    panic = find_panic_cpu(cpus, kernel, lambda: _log(dump, memory))
    if panic.pid is not None:
        cpus[panic.index] = replace(cpus[panic.index], pid=panic.pid)
    return KernelSurvey(dump_memory, memory, symbols, cpus, panic)


def _log(dump: CrashDump, memory: AddressSpace) -> Iterator[str]:
    from kdump_gdbserver.domain.printk import kernel_log

    for record in kernel_log(memory, dump.vmcoreinfo, dump.facts.arch):
        if record is not None:
            yield record.text
