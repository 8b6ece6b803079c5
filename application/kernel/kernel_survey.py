"""What a kernel's dump tells of its CPUs, looked up once for all views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdump_gdbserver.application.kernel import cpus as cpu_numbers
from kdump_gdbserver.application.kernel import entry_unwind, panic_cpu
from kdump_gdbserver.application.kernel.cpus import Cpu, identify_cpus
from kdump_gdbserver.application.kernel.kernel_symbols import (
    KernelSymbols,
    LookUp,
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

    `symbol_file` (a vmlinux) helps where the kernel's own symbol table is not found, or has
    functions alone.
    """
    arch = dump.facts.arch
    dump_memory = DumpMemory(dump)
    memory = dump_memory.kernel()
    look_up = _runtime_symbols(dump, symbol_file) if symbol_file else None
    symbols = KernelSymbols(memory, dump.vmcoreinfo, arch, look_up)
    # Looking all names up together is quicker than one by one, here and in the views.
    symbols.look_up((*cpu_numbers.SYMBOLS, *panic_cpu.SYMBOLS, *entry_unwind.SYMBOLS))
    kernel = Symbols(symbols, kernel_memory(memory, arch), dump.vmcoreinfo.lines)
    cpus = identify_cpus(dump.cpu_notes(), arch, dump.facts.hypervisor, kernel)
    if not cpus:
        # gdb cannot attach without a thread that has a pc; the dump has memory to look at.
        cpus = [Cpu(0, None, {arch.pc: 0}, has_note=False)]
    return KernelSurvey(dump_memory, memory, symbols, cpus, find_panic_cpu(cpus, kernel))


def _runtime_symbols(dump: CrashDump, symbol_file: SymbolFile) -> LookUp:
    offset, mask = dump.vmcoreinfo.kaslr_offset or 0, dump.facts.arch.pointer_mask

    def look_up(names: tuple[str, ...]) -> Mapping[str, int]:
        return {
            name: (address + offset) & mask if address >= symbol_file.first_segment else address
            for name, address in symbol_file.symbols(names).items()
        }

    return look_up
