"""Made-up kernel tasks for the made-up machine, as the sidecar that `-k` takes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.synthetic import DIRECT_MAP, MIB, RELEASE
from kdump_gdbserver.adapters.json_sidecar import JsonSidecarStore
from kdump_gdbserver.domain.sidecars import DumpIdentity, KernelTasks, TaskRecord

_REGISTERS = "rip rsp rbp rbx r12 r13 r14 r15".split()


def write_tasks(path: Path, count: int) -> None:
    """Write a sidecar of `count` sleeping tasks, all in memory that the dump has."""
    tasks = tuple(_task(number) for number in range(1, count + 1))
    identity = DumpIdentity(arch="x86_64", release=RELEASE)
    JsonSidecarStore().write_kernel_tasks(str(path), KernelTasks(identity, tasks))


def _task(number: int) -> TaskRecord:
    stack = DIRECT_MAP + 16 * MIB + number * 4096
    values = {name: stack + 8 * place for place, name in enumerate(_REGISTERS)}
    values["rip"] = DIRECT_MAP + 16 * MIB  # all sleep in the same function
    return TaskRecord(
        pid=number,
        tid=number,
        comm=f"task-{number}",
        registers=values,
        ppid=1,
        uid=0,
        address=stack,
        state="S",
    )
