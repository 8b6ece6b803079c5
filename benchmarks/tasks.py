"""Kernel tasks by the thousand as the sidecar that `-k` takes: made up, or a real one's copies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.programs import BUILD, BenchError, gdb
from benchmarks.synthetic import DIRECT_MAP, MIB, RELEASE
from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.sidecars import DumpIdentity, KernelTasks, TaskRecord
from tests.support.sidecar_writer import write_kernel_tasks

_REGISTERS = "rip rsp rbp rbx r12 r13 r14 r15".split()
_SCRIPT = Path(__file__).resolve().parent.parent / "gdb" / "KdumpGdbCommands.py"


def write_tasks(path: Path, count: int) -> None:
    """Write a sidecar of `count` sleeping tasks, all in memory that the dump has."""
    tasks = tuple(_task(number) for number in range(1, count + 1))
    identity = DumpIdentity(arch="x86_64", release=RELEASE)
    write_kernel_tasks(path, KernelTasks(identity, tasks))


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


def write_real_tasks(path: Path, count: int, port: int, vmlinux: Path) -> None:
    """Let gdb write the sidecar of a dump that is served; give it `count` sleeping tasks.

    They are copies of the real ones with numbers of their own.
    """
    saved = BUILD / "tasks-real.json"
    connect = (f"file {vmlinux}", f"target remote localhost:{port}", f"source {_SCRIPT}")
    printed = gdb(None, *connect, f"kdump-save-kernel-json {saved}")
    if not saved.exists():
        raise BenchError(f"gdb wrote no tasks: {printed.strip()[-300:]}")
    tasks = JsonSidecarReader().read_kernel_tasks(str(saved), X86_64)
    asleep = [task for task in tasks.tasks if task.cpu is None and "rip" in task.registers]
    copies = (
        dataclasses.replace(
            asleep[number % len(asleep)], pid=100_000 + number, tid=100_000 + number
        )
        for number in range(count)
    )
    made = dataclasses.replace(tasks, tasks=tuple(copies), cpus=())
    write_kernel_tasks(path, made)
