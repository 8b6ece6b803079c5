"""Which registers belong to which CPU, and what each CPU was running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.dump_facts import CpuNote
from kdump_gdbserver.domain.kernel import current, percpu
from kdump_gdbserver.domain.kernel.current import CurrentTasks
from kdump_gdbserver.domain.kernel.errors import KdumpError, Unreadable
from kdump_gdbserver.domain.kernel.percpu import PerCpu
from kdump_gdbserver.domain.kernel.symbols import Symbols

# Bytes of a per-CPU crash note that are read: note header, name, elf_prstatus.
_NOTE_SIZE = 1024
# Offset of pr_pid in struct elf_prstatus on 64-bit machines (include/linux/elfcore.h), after the
# note's header and its name "CORE".
_PID_AT = 20 + 32

# The symbols that are asked for here.
SYMBOLS = ("crash_notes", *percpu.SYMBOLS, *current.SYMBOLS)

_ORDERS: tuple[ByteOrder, ...] = ("big", "little")


@dataclass(frozen=True, slots=True)
class Cpu:
    """One CPU at the crash.

    `pid` is that of the task it was running: 0 for the idle task, None when the dump does not say.
    `registers` are the note's, by gdb's names. `has_note` is false only for the placeholder in a
    dump that has no notes at all.
    """

    number: int
    pid: int | None
    registers: Mapping[str, int]
    has_note: bool = True


def identify_cpus(
    notes: Sequence[CpuNote], arch: Arch, hypervisor: bool, kernel: Symbols
) -> list[Cpu]:
    """Return the CPUs in order of their numbers.

    A dump made by a hypervisor has one note per CPU, in order, without the kernel's pids. One made
    by a crashed kernel leaves out CPUs that were offline or did not answer, so its notes are
    matched with the kernel's own per-CPU `crash_notes`, or with the task that each CPU was running;
    failing that, they are assigned to the online CPUs in order. QEMU does not always mark its
    dumps: notes that are not the kernel's, and whose pids are 1, 2, 3, ..., are taken to be QEMU's.
    It writes those in the byte order of the machine that it runs on.
    """
    per_cpu = PerCpu(kernel)
    tasks = CurrentTasks(kernel, per_cpu)
    numbers = None if hypervisor else _match_crash_notes(notes, arch, per_cpu)
    true_pids = numbers is not None or not _are_counted(notes)
    if numbers is None:
        if hypervisor or not true_pids:
            numbers = [note.index for note in notes]
        else:
            numbers = _match_tasks(notes, arch, tasks) or _online_cpus(notes, per_cpu)
    if hypervisor or not true_pids:
        pids = [tasks.pid(number) for number in numbers]
    else:
        pids = [note.pid for note in notes]
    rows = zip(numbers, pids, notes, strict=True)
    return sorted((Cpu(n, pid, note.registers) for n, pid, note in rows), key=lambda c: c.number)


def _are_counted(notes: Sequence[CpuNote]) -> bool:
    """Whether pids are 1, 2, 3, ..., in either byte order."""
    return any(
        all(n.pid == int.from_bytes((n.index + 1).to_bytes(4, "big"), order) for n in notes)
        for order in _ORDERS
    )


def _match_crash_notes(notes: Sequence[CpuNote], arch: Arch, per_cpu: PerCpu) -> list[int] | None:
    """Return the CPU number of each note, or None unless every note finds its CPU.

    A note belongs to the CPU whose crash note has its pid, pc and sp.
    """
    variable = per_cpu.symbols.find("crash_notes")
    if variable is None:
        return None
    memory = per_cpu.symbols.memory
    buffers: dict[int, bytes] = {}
    try:
        area = memory.pointer(variable)
        for cpu in per_cpu.offsets:
            buffers[cpu] = memory.fetch(per_cpu.address(area, cpu), _NOTE_SIZE)
    except Unreadable:
        return None
    numbers: list[int] = []
    for note in notes:
        marks = [
            note.registers[name].to_bytes(arch.pointer_size, arch.byte_order)
            for name in (arch.pc, arch.sp)
            if name in note.registers
        ]
        # A damaged note can hold anything; pr_pid itself has 32 bits.
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


def _match_tasks(notes: Sequence[CpuNote], arch: Arch, tasks: CurrentTasks) -> list[int] | None:
    """Return the CPU number of each note, or None unless every note finds its CPU.

    A note belongs to the CPU whose task has its pid; its sp is in that task's stack, unless
    the CPU was in user mode.
    """
    try:
        ran = {cpu: (tasks.pid(cpu), tasks.stack(cpu)) for cpu in tasks.cpus()}
    except KdumpError:
        return None
    numbers: list[int] = []
    for note in notes:
        in_user_mode = arch.is_user_mode(note.registers)
        sp = note.registers.get(arch.sp, 0)
        found = [
            cpu
            for cpu, (pid, stack) in ran.items()
            if pid == note.pid and (in_user_mode or (stack is not None and sp in stack))
        ]
        if len(found) != 1 or found[0] in numbers:
            return None
        numbers += found
    return numbers


def _online_cpus(notes: Sequence[CpuNote], per_cpu: PerCpu) -> list[int]:
    """Return the online CPUs when they are as many as the notes, else 0, 1, 2, ..."""
    try:
        online = per_cpu.mask("__cpu_online_mask")
    except Unreadable:
        online = None
    if online is not None and len(online) == len(notes):
        return online
    return list(range(len(notes)))
