"""The CPUs: which there were, and what each ran."""

from typing import Any, Callable, Dict, List, Optional, Set

from .errors import Unreadable
from .kernel import Kernel
from .memory import Layout


def per_cpu_base(
    symbol: int,
    start: Optional[int],
    offsets: Dict[int, int],
    is_right: Callable[[int, int], Optional[bool]],
) -> Optional[int]:
    """The base of a per-CPU variable, None if unknown: a CPU's copy is at base + offsets[cpu].

    `symbol` and `start` are the variable and __per_cpu_start as gdb has them, `offsets` maps a
    CPU to __per_cpu_offset[cpu], `is_right(cpu, address)` looks whether that CPU's copy lies
    there, or says None if the dump does not have the address.

    A kernel whose per-CPU section is part of its image (all but x86_64 before 6.15) just adds
    the offset to the symbol. Where the section is linked at 0 instead, the symbol must not be
    relocated by KASLR, but both `file vmlinux -o OFFSET` and the server's relocation do it; the
    section's start moves along, so the distance from it is right however the file was loaded.
    """
    tried = [symbol]
    if start is not None:
        tried.append(symbol - start)
    for base in tried:
        found = [is_right(cpu, (base + offset) % 2**64) for cpu, offset in offsets.items()]
        if True in found and False not in found:
            return base
    return None


def bits_set(data: bytes, byte_order: Any) -> List[int]:
    """The numbers of the bits set in a kernel bitmap (include/linux/bitmap.h)."""
    words = [data[at : at + 8] for at in range(0, len(data), 8)]
    return [
        64 * index + bit
        for index, word in enumerate(words)
        for bit in range(64)
        if int.from_bytes(word, byte_order) >> bit & 1
    ]


class Cpus:
    """Finds the CPUs and what they ran, from their runqueues (kernel/sched/sched.h)."""

    def __init__(self, kernel: Kernel, problems: List[str]) -> None:
        self.kernel = kernel
        self.problems = problems

    def read(self) -> List[Dict[str, Any]]:
        """The CPUs as [{"cpu", "curr", "idle", "online"}], from their runqueues.

        "curr" is what the CPU was running; comparing pids would not tell, as every CPU's idle
        task has pid 0, and some dumps have CPU numbers where pids belong.
        """
        layout = self.kernel.layout("struct rq", ["curr", "idle"], ["cpu"])
        offsets = self._per_cpu_offsets()
        base = self._runqueues(layout, offsets)
        if base is None:
            return []
        online = self._online_cpus()
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

    def _online_cpus(self) -> Set[int]:
        """The CPUs in use before the crash.

        A panic takes the other CPUs out of the online mask as it stops them (stop_this_cpu() in
        arch/x86/kernel/process.c), but not out of the active mask, as unplugging a CPU does.
        """
        masks = [self._cpu_mask(name) for name in ("__cpu_online_mask", "__cpu_active_mask")]
        return set().union(*(mask for mask in masks if mask))

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

    def _per_cpu_offsets(self) -> Dict[int, int]:
        """{possible CPU: its __per_cpu_offset}; a kernel for one CPU has no such array."""
        table = self.kernel.find("__per_cpu_offset")
        if table is None:
            return {0: 0}
        possible = self._cpu_mask("__cpu_possible_mask")
        if not possible:
            return {}
        words = self.kernel.memory.words(table, max(possible) + 1)
        return {cpu: words[cpu] for cpu in possible}

    def _cpu_mask(self, name: str) -> Optional[List[int]]:
        """The CPUs in a struct cpumask, or None if there is none of that name."""
        address = self.kernel.find(name)
        if address is None:
            return None
        count = (
            self.kernel.variable("nr_cpu_ids", 4) or 8 * self.kernel.type("struct cpumask").sizeof
        )
        data = self.kernel.memory.fetch(address, (count + 63) // 64 * 8)
        return [cpu for cpu in bits_set(data, self.kernel.memory.byte_order) if cpu < count]
