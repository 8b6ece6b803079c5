"""Which registers belong to which CPU, and what each CPU was running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.dump_facts import CpuNote
from kdump_gdbserver.domain.errors import MemoryFault

# Bytes of a per-CPU crash note that are looked at: note header, name, elf_prstatus.
_NOTE_SIZE = 1024
# Offset of pr_pid in struct elf_prstatus on 64-bit machines (include/linux/elfcore.h),
# behind the note's header and its name "CORE".
_PID_AT = 20 + 32
_MAX_CPUS = 8192


@dataclass(frozen=True, slots=True)
class Cpu:
    """One CPU at the crash.

    `pid` is that of the task it ran: 0 for the idle task, None when the dump does not
    tell. `registers` are the note's, by gdb's names. `has_note` is false only for the one
    that stands in where a dump has no notes at all.
    """

    number: int
    pid: int | None
    registers: Mapping[str, int]
    has_note: bool = True


def identify_cpus(
    notes: Sequence[CpuNote],
    arch: Arch,
    hypervisor: bool,
    symbols: KernelSymbols,
    memory: AddressSpace,
) -> list[Cpu]:
    """Return the CPUs in order of their numbers.

    A dump made by a hypervisor has one note a CPU, in order, with no true pid. One made
    by a crashed kernel leaves out CPUs that were offline or did not answer, so its notes
    are matched with the kernel's own per-CPU `crash_notes`; failing that, they are dealt
    out over the online CPUs.
    """
    per_cpu = _PerCpu(symbols, memory, arch)
    if hypervisor:
        current = _CurrentTask(symbols, per_cpu)
        return [Cpu(n.index, current.pid(n.index), n.registers) for n in notes]
    numbers = _match_crash_notes(notes, arch, per_cpu) or _online_cpus(notes, per_cpu)
    cpus = [Cpu(number, n.pid, n.registers) for number, n in zip(numbers, notes, strict=True)]
    return sorted(cpus, key=lambda cpu: cpu.number)


class _PerCpu:
    """Reads variables of single CPUs: `symbol + __per_cpu_offset[cpu]`."""

    def __init__(self, symbols: KernelSymbols, memory: AddressSpace, arch: Arch) -> None:
        self.symbols = symbols
        self.memory = memory
        self.arch = arch
        self._offsets = self._read_offsets()

    def _read_offsets(self) -> list[int]:
        base = self.symbols.addresses.get("__per_cpu_offset")
        count = self.symbols.read_int("nr_cpu_ids")
        if base is None or count is None or not 0 < count <= _MAX_CPUS:
            return []
        try:
            return [self.pointer(base + self.arch.pointer_size * i) for i in range(count)]
        except MemoryFault:
            return []

    def __len__(self) -> int:
        return len(self._offsets)

    def pointer(self, address: int) -> int:
        return self.memory.read_uint(address, self.arch.pointer_size, self.arch.byte_order)

    def address(self, variable: int, cpu: int) -> int:
        return (variable + self._offsets[cpu]) & self.arch.pointer_mask


def _match_crash_notes(notes: Sequence[CpuNote], arch: Arch, per_cpu: _PerCpu) -> list[int] | None:
    """Return the CPU number of each note, or None unless every note finds its CPU.

    A note belongs to the CPU whose crash note has its pid, pc and sp.
    """
    variable = per_cpu.symbols.addresses.get("crash_notes")
    if variable is None or not per_cpu:
        return None
    buffers: dict[int, bytes] = {}
    try:
        area = per_cpu.pointer(variable)
        for cpu in range(len(per_cpu)):
            buffers[cpu] = per_cpu.memory.read(per_cpu.address(area, cpu), _NOTE_SIZE)
    except MemoryFault:
        return None
    numbers: list[int] = []
    for note in notes:
        marks = [
            note.registers[name].to_bytes(arch.pointer_size, arch.byte_order)
            for name in (arch.pc, arch.sp)
            if name in note.registers
        ]
        # A damaged note can say anything; pr_pid itself has 32 bits.
        pid = ((note.pid or 0) & 0xFFFFFFFF).to_bytes(4, arch.byte_order)
        found = [
            cpu
            for cpu, buffer in buffers.items()
            if buffer[_PID_AT : _PID_AT + 4] == pid and all(mark in buffer for mark in marks)
        ]
        if len(found) != 1 or not marks or found[0] in numbers:
            return None
        numbers += found
    return numbers


def _online_cpus(notes: Sequence[CpuNote], per_cpu: _PerCpu) -> list[int]:
    """Return the online CPUs when they are as many as the notes, else 0, 1, 2, ..."""
    mask_at = per_cpu.symbols.addresses.get("__cpu_online_mask")
    if mask_at is not None and per_cpu:
        size = -(-len(per_cpu) // (8 * per_cpu.arch.pointer_size)) * per_cpu.arch.pointer_size
        try:
            mask = per_cpu.memory.read_uint(mask_at, size, per_cpu.arch.byte_order)
        except MemoryFault:
            mask = 0
        online = [cpu for cpu in range(len(per_cpu)) if mask >> cpu & 1]
        if len(online) == len(notes):
            return online
    return list(range(len(notes)))


class _CurrentTask:
    """The task a CPU runs, by the kernel's own per-CPU variable (x86_64).

    `current_task`, or the first member of `pcpu_hot` (6.2 to 6.14): arch/x86/include/
    asm/current.h.
    """

    def __init__(self, symbols: KernelSymbols, per_cpu: _PerCpu) -> None:
        addresses = symbols.addresses
        self._per_cpu = per_cpu
        self._variable = addresses.get("current_task", addresses.get("pcpu_hot"))
        self._pid_at = (
            symbols.member_offsets("task_struct").get("pid")
            if self._variable is not None and per_cpu
            else None
        )

    def pid(self, cpu: int) -> int | None:
        if self._variable is None or self._pid_at is None or cpu >= len(self._per_cpu):
            return None
        per_cpu = self._per_cpu
        try:
            task = per_cpu.pointer(per_cpu.address(self._variable, cpu))
            return per_cpu.memory.read_uint(task + self._pid_at, 4, per_cpu.arch.byte_order)
        except MemoryFault:
            return None
