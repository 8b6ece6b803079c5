"""The CPUs that there were, and the task that each was running."""

from typing import Any, Dict, List, Optional

from .errors import Unreadable
from .kernel import Kernel
from .memory import Layout
from .percpu import PerCpu, per_cpu_base


class Cpus:
    """Finds the CPUs and what they ran, from their runqueues (kernel/sched/sched.h)."""

    def __init__(self, kernel: Kernel, problems: List[str]) -> None:
        self.kernel = kernel
        self.problems = problems
        self.per_cpu = PerCpu(kernel)

    def read(self) -> List[Dict[str, Any]]:
        """Return the CPUs as [{"cpu", "curr", "idle", "online"}], from their runqueues.

        "curr" is the task the CPU was running. Pids would not do: every CPU's idle task has pid 0,
        and some dumps have CPU numbers in place of pids.
        """
        layout = self.kernel.layout("struct rq", ["curr", "idle"], ["cpu"])
        offsets = self.per_cpu.offsets
        base = self._runqueues(layout, offsets)
        if base is None:
            return []
        online = self.per_cpu.in_use()
        cpus = []
        for cpu, offset in sorted(offsets.items()):
            try:
                values = layout.read(self.kernel.memory, (base + offset) % 2**64)
            except Unreadable as error:
                self.problems.append("runqueue of CPU %d: %s" % (cpu, error))
                continue
            cpus.append(
                {
                    "cpu": cpu,
                    "curr": values["curr"],
                    "idle": values["idle"],
                    "online": not online or cpu in online,
                }
            )
        return cpus

    def _runqueues(self, layout: Layout, offsets: Dict[int, int]) -> Optional[int]:
        """What to add to a CPU's offset to get its runqueue's address, or None."""

        def is_right(cpu: int, address: int) -> Optional[bool]:
            try:
                values = layout.read(self.kernel.memory, address)
                name = self._read_comm(values["idle"]) if values["idle"] else b"swapper"
            except Unreadable:
                return None  # not in the dump
            return values.get("cpu", cpu) == cpu and name.startswith(b"swapper")

        base = per_cpu_base(
            self.kernel.runqueues, self.kernel.find("__per_cpu_start"), offsets, is_right
        )
        if base is None:
            self.problems.append(
                "runqueues are not where vmlinux says: the idle tasks of other CPUs, and which "
                "task ran on which CPU, stay unknown"
            )
        return base

    def _read_comm(self, task: int) -> bytes:
        member = self.kernel.task_layout.members["comm"]
        return self.kernel.memory.fetch(task + member.offset, member.size)
