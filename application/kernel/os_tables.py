"""Tables about the dumped system, for gdb's `info os`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.domain.sidecars import KernelTasks, TaskRecord
from kdump_gdbserver.ports.os_tables import OsTable


def cpu_table(cpus: Sequence[Cpu]) -> OsTable:
    """Return the CPUs whose registers are in the dump, and the pid that each was running."""

    def rows() -> Iterator[Sequence[str]]:
        for cpu in cpus:
            yield str(cpu.number), _number(cpu.pid)

    return OsTable("cpus", "CPUs", "CPUs with registers", ("cpu", "pid"), rows)


def task_tables(tasks: KernelTasks) -> Sequence[OsTable]:
    """Return the tables of processes and threads, with gdbserver's columns and more."""
    return (
        OsTable(
            "processes",
            "Processes",
            "All processes of the dumped system",
            ("pid", "user", "command", "cores", "ppid", "state"),
            lambda: _processes(tasks.tasks),
        ),
        OsTable(
            "threads",
            "Threads",
            "All threads of the dumped system",
            ("pid", "command", "tid", "core", "state"),
            lambda: _threads(tasks.tasks),
        ),
    )


def _processes(tasks: Iterable[TaskRecord]) -> Iterator[Sequence[str]]:
    cores: dict[int, list[str]] = {}
    for task in tasks:
        # The idle tasks are all pid 0; each is a process of its own.
        if task.cpu is not None and task.pid:
            cores.setdefault(task.pid, []).append(str(task.cpu))
    seen: set[int] = set()
    for task in sorted(tasks, key=lambda task: (task.pid, task.tid != task.pid)):
        if task.pid and task.pid in seen:
            continue
        seen.add(task.pid)
        yield (
            str(task.pid),
            _number(task.uid),
            task.shown_name,
            ",".join(cores.get(task.pid, ())) if task.pid else _number(task.cpu),
            _number(task.ppid),
            task.state or "",
        )


def _threads(tasks: Iterable[TaskRecord]) -> Iterator[Sequence[str]]:
    for task in sorted(tasks, key=lambda task: (task.pid, task.tid)):
        yield str(task.pid), task.shown_name, str(task.tid), _number(task.cpu), task.state or ""


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
