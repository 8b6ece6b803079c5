"""kdump-kernel-ps: list every task."""

from typing import List

import gdb

from ...domain.kernel.errors import KdumpError
from .command import Command, report, take_snapshot


class KernelPs(Command):
    """List every task of the kernel in the dump.

    Usage: kdump-kernel-ps

    One line for each thread of each process, and for each CPU's idle task:
    user id, process id, parent's process id, thread id, name (a kernel thread's
    in brackets) and the address of its task_struct."""

    ROW = "{:<10} {:<10} {:<10} {:<10} {:<25} {}\n"

    def __init__(self) -> None:
        super().__init__("kdump-kernel-ps", gdb.COMMAND_DATA)

    def run(self, words: List[str]) -> None:
        if words:
            raise KdumpError("usage: kdump-kernel-ps (it takes no arguments)")
        snapshot = take_snapshot()
        gdb.write(self.ROW.format("UID", "PID", "PPID", "LWP", "COMM", "ADDRESS"))
        for task in snapshot.tasks:
            numbers = (snapshot.uid(task), task.tgid, snapshot.parent_pid(task), task.pid)
            shown = ["?" if number is None else number for number in numbers]
            gdb.write(self.ROW.format(*shown, task.name, "0x%x" % task.address))
        report(snapshot.problems)
