"""Kernel mode with tasks: kernel memory, and one thread for each task of the kernel."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping

from kdump_gdbserver.application.kernel.kernel_files import MakeProgram, identity
from kdump_gdbserver.application.kernel.kernel_survey import survey_kernel
from kdump_gdbserver.application.kernel.kernel_view import KERNEL_PID, kernel_view
from kdump_gdbserver.application.kernel.os_tables import task_tables
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.sidecars import KernelTasks, TaskRecord, check_identity
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.domain.threads import Thread, ThreadId, ThreadTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.symbol_file import SymbolFile


def open_task_view(
    dump: CrashDump, tasks: KernelTasks, symbol_file: SymbolFile | None = None
) -> View:
    """Return the view that `defer_task_view` makes, at once."""
    return defer_task_view(dump, tasks, symbol_file)()


def defer_task_view(
    dump: CrashDump,
    tasks: KernelTasks,
    symbol_file: SymbolFile | None = None,
    make_program: MakeProgram = identity,
) -> Callable[[], View]:
    """Return what makes the view of a dump's kernel with its tasks as threads 1.1, 1.2, ...

    The CPUs come first, in order, each shown as the task it was running, with the CPU's registers.
    All other tasks follow in the order of the sidecar, with the registers from their switch frames.
    A CPU whose task is unknown is shown as in the kernel view. The rest is as in
    `open_kernel_view`. Raises `SidecarError`, at once, when the tasks are of another dump.
    """
    check_identity(tasks.identity, dump.facts, dump.vmcoreinfo)
    return lambda: _task_view(dump, tasks, symbol_file, make_program)


def _task_view(
    dump: CrashDump, tasks: KernelTasks, symbol_file: SymbolFile | None, make_program: MakeProgram
) -> View:
    survey = survey_kernel(dump, symbol_file)
    sp = dump.facts.arch.sp
    sleeping = (task.registers[sp] for task in tasks.tasks if sp in task.registers)
    kernel = kernel_view(dump, survey, symbol_file, make_program, sleeping)
    pids = {cpu.number: cpu.pid for cpu in survey.cpus if cpu.pid is not None}
    running = _tasks_by_cpu(tasks, kernel, pids)
    threads = ThreadTable(_threads(dump, kernel, tasks, running))
    # CPUs keep their places, so the thread of the CPU that panicked is where that CPU was.
    current = threads.by_tid(kernel.current.id.tid)
    assert current is not None
    return dataclasses.replace(
        kernel,
        threads=threads,
        current=current,
        os_tables=(*task_tables(tasks), *kernel.os_tables),
        title="the kernel with its tasks",
    )


def _threads(
    dump: CrashDump, kernel: View, tasks: KernelTasks, running: Mapping[int, int]
) -> Iterator[Thread]:
    shown: set[int] = set()
    for cpu in kernel.threads:
        place = None if cpu.core is None else running.get(cpu.core)
        if place is None:
            yield cpu
        else:
            shown.add(place)
            yield _on_cpu(cpu, tasks.tasks[place], kernel)
    values = _SwitchFrames(dump, kernel).values if tasks.legacy else _saved
    same = kernel.arch.machine_registers(dump.vmcoreinfo)
    number = len(kernel.threads)
    for place, task in enumerate(tasks.tasks):
        if place not in shown:
            number += 1
            yield _asleep(task, ThreadId(KERNEL_PID, number), kernel, values, same)


def _on_cpu(cpu: Thread, task: TaskRecord, kernel: View) -> Thread:
    return Thread(
        cpu.id,
        lambda: cpu.registers,
        extra=_extra(task),
        core=cpu.core,
        handle=_handle(task, kernel),
    )


def _handle(task: TaskRecord, kernel: View) -> bytes | None:
    """Return the task_struct's address as gdb compares it with a pointer's bytes."""
    if task.address is None:
        return None
    arch = kernel.arch
    return (task.address & arch.pointer_mask).to_bytes(arch.pointer_size, arch.byte_order)


def _asleep(
    task: TaskRecord,
    thread_id: ThreadId,
    kernel: View,
    values: Callable[[TaskRecord], Mapping[str, int]],
    same: Mapping[str, int],
) -> Thread:
    return Thread(
        thread_id,
        lambda: RegisterSet.from_values(kernel.layout, {**values(task), **same}),
        extra=_extra(task),
        core=task.cpu,  # a CPU whose registers are not in the dump, else None
        handle=_handle(task, kernel),
    )


def _extra(task: TaskRecord) -> str:
    return f'pid {task.pid} LWP {task.tid} "{printable(task.shown_name)}"'


def _saved(task: TaskRecord) -> Mapping[str, int]:
    return task.registers


def _tasks_by_cpu(tasks: KernelTasks, kernel: View, cpu_pids: Mapping[int, int]) -> dict[int, int]:
    """Return the place among `tasks` of the task that each CPU was running, where it is known.

    The runqueue's current task counts first, then what the tasks say themselves. Without either, as
    in the earlier script's sidecars, the CPU's pid decides.
    """
    running: dict[int, int] = {}
    taken: set[int] = set()
    for candidates in (_by_runqueue(tasks), _by_own_word(tasks)):
        _take(candidates, running, taken)
    unknown = {cpu.core for cpu in kernel.threads if cpu.core is not None} - running.keys()
    if unknown:
        _take(_by_pid(tasks, unknown, cpu_pids), running, taken)
    return running


def _take(candidates: Iterator[tuple[int, int]], running: dict[int, int], taken: set[int]) -> None:
    # Whatever a damaged dump says, a CPU runs one task, and a task runs on one CPU.
    for cpu, place in candidates:
        if cpu not in running and place not in taken:
            running[cpu] = place
            taken.add(place)


def _by_runqueue(tasks: KernelTasks) -> Iterator[tuple[int, int]]:
    by_address = {task.address: place for place, task in enumerate(tasks.tasks)}
    for entry in tasks.cpus:
        if entry.curr is not None and entry.curr in by_address:
            yield entry.cpu, by_address[entry.curr]


def _by_own_word(tasks: KernelTasks) -> Iterator[tuple[int, int]]:
    for place, task in enumerate(tasks.tasks):
        if task.cpu is not None:
            yield task.cpu, place


def _by_pid(
    tasks: KernelTasks, cpus: set[int], pids: Mapping[int, int]
) -> Iterator[tuple[int, int]]:
    by_tid = {task.tid: place for place, task in enumerate(tasks.tasks) if task.tid}
    idle = {task.idle_task_of: place for place, task in enumerate(tasks.tasks) if not task.tid}
    for cpu in sorted(cpus & pids.keys()):
        place = by_tid.get(pids[cpu]) if pids[cpu] else idle.get(cpu)
        if place is not None and tasks.tasks[place].cpu in (None, cpu):
            yield cpu, place


class _SwitchFrames:
    """Corrects the stack pointer that the earlier script saved for sleeping tasks.

    It saved the address of the switch frame as rsp and the return address as rip. After the return
    rsp is above the frame, so gdb could not unwind. The frame is found by the return address in it;
    without that nothing is changed.
    """

    def __init__(self, dump: CrashDump, kernel: View) -> None:
        self._arch = dump.facts.arch
        self._places = self._arch.return_address_at
        self._open_memory = kernel.open_memory
        self._memory: AddressSpace | None = None
        self._lock = threading.Lock()  # sessions share threads, not address spaces

    def values(self, task: TaskRecord) -> Mapping[str, int]:
        """Return the registers of a task that was not running."""
        sp, pc = (task.registers.get(name) for name in (self._arch.sp, self._arch.pc))
        if sp is None or pc is None or not self._places:
            return task.registers
        with self._lock:
            for place in self._places:
                if self._word(sp + place) == pc:
                    after = sp + place + self._arch.pointer_size
                    return {**task.registers, self._arch.sp: after & self._arch.pointer_mask}
        return task.registers

    def _word(self, address: int) -> int | None:
        if self._memory is None:
            self._memory = self._open_memory()
        try:
            return self._memory.read_uint(
                address & self._arch.pointer_mask, self._arch.pointer_size, self._arch.byte_order
            )
        except MemoryFault:
            return None
