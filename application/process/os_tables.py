"""Tables about one process, for gdb's `info os`; without columns for what sidecars lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdump_gdbserver.domain.sidecars import ProcessImage
from kdump_gdbserver.ports.os_tables import OsTable


def process_tables(image: ProcessImage, cpus: Mapping[int, int]) -> Sequence[OsTable]:
    """Return the tables of the process and its threads; `cpus` has a tid's CPU, if it was on one.

    Names are those of the tables of all tasks, so that the same command works in each mode.
    """
    pid = str(image.pid)
    cores = {tid: str(cpu) for tid, cpu in cpus.items()}
    return (
        OsTable(
            "processes",
            "Processes",
            "Only this process, which is shown",
            ("pid", "command", "cores"),
            lambda: [(pid, image.comm, ",".join(map(str, sorted(cpus.values()))))],
        ),
        OsTable(
            "threads",
            "Threads",
            "Only the threads of this process",
            ("pid", "command", "tid", "core"),
            lambda: [
                (pid, thread.comm, str(thread.tid), cores.get(thread.tid, ""))
                for thread in image.threads
            ],
        ),
    )
