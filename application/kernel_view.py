"""Kernel mode: kernel memory, and one thread for each CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kdump_gdbserver.application.cpus import Cpu, identify_cpus
from kdump_gdbserver.application.kernel_symbols import KernelSymbols
from kdump_gdbserver.application.panic_cpu import find_panic_cpu
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.arch.model import RegisterLayout
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import Thread, ThreadId, ThreadTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.symbol_file import SymbolFile

# The kernel is gdb's inferior 1.
KERNEL_PID = 1


def open_kernel_view(dump: CrashDump, symbol_file: SymbolFile | None = None) -> View:
    """Return the view of a dump's kernel: threads 1.1, 1.2, ... are its CPUs in order.

    `symbol_file` (a vmlinux) helps with kernels before 6.0, which do not tell where their
    own symbol table is. Raises `DumpOpenError` when the dump has no CPU registers.
    """
    arch = dump.facts.arch
    layout = arch.layout()
    memory = dump.kernel()
    symbols = KernelSymbols(
        memory,
        dump.vmcoreinfo,
        arch.byte_order,
        _runtime_symbols(dump, symbol_file) if symbol_file else None,
    )
    cpus = identify_cpus(dump.cpu_notes(), arch, dump.facts.hypervisor, symbols, memory)
    if not cpus:
        # A dump without registers still has memory to look at, which needs a thread.
        cpus = [Cpu(0, None, {})]
    panic = find_panic_cpu(cpus, symbols)
    threads = ThreadTable(
        cpu_thread(cpu, ThreadId(KERNEL_PID, number), layout)
        for number, cpu in enumerate(cpus, start=1)
    )
    return View(
        arch=arch,
        layout=layout,
        threads=threads,
        current=threads[panic.index],
        open_memory=dump.kernel,
        text_segment=_text_segment(dump, symbols, symbol_file),
        current_reason=panic.reason,
    )


def cpu_thread(cpu: Cpu, thread_id: ThreadId, layout: RegisterLayout) -> Thread:
    """Return the thread that stands for a CPU."""
    if cpu.pid is None:
        doing = ""
    else:
        doing = f" pid {cpu.pid}" if cpu.pid else " idle"
    return Thread(
        thread_id,
        lambda: RegisterSet.from_values(layout, cpu.registers),
        extra=f"CPU #{cpu.number}{doing}",
        core=cpu.number,
    )


def _runtime_symbols(
    dump: CrashDump, symbol_file: SymbolFile
) -> Callable[[tuple[str, ...]], Mapping[str, int]]:
    offset = dump.vmcoreinfo.kaslr_offset or 0

    def look_up(names: tuple[str, ...]) -> Mapping[str, int]:
        return {
            name: address + offset if address >= symbol_file.first_segment else address
            for name, address in symbol_file.symbols(names).items()
        }

    return look_up


def _text_segment(
    dump: CrashDump, symbols: KernelSymbols, symbol_file: SymbolFile | None
) -> int | None:
    """Return where the vmlinux's first PT_LOAD is at run time.

    It starts at `_text`; where only `_stext` is known, that is the same on x86_64.
    """
    info = dump.vmcoreinfo
    if symbol_file is not None and info.kaslr_offset is not None:
        return symbol_file.first_segment + info.kaslr_offset
    return symbols.addresses.get("_text", info.symbol("_stext"))
