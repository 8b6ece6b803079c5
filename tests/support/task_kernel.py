"""A made-up x86_64 kernel with any number of tasks, whole enough for every walker of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.kernel.errors import Unreadable
from kdump_gdbserver.domain.kernel.kernel import Kernel
from kdump_gdbserver.domain.kernel.memory import Memory
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

BASE = 0xFFFF_8880_0000_0000
SLOT = 0x1000  # what each thing gets, in bytes
_NODE_SLOTS, _SHIFT = 64, 6

_TYPES: dict[str, tuple[int, Mapping[str, Member]]] = {
    "struct task_struct": (
        0xA00,
        {
            "thread_info.cpu": Member(0x14, 4),
            "__state": Member(0x18, 4),
            "stack": Member(0x20, 8, "pointer"),
            "flags": Member(0x2C, 4),
            "on_cpu": Member(0x34, 4),
            "se.cfs_rq": Member(0x1C0, 8, "pointer"),
            "tasks.next": Member(0x390, 8, "pointer"),
            "mm": Member(0x3E0, 8, "pointer"),
            "exit_state": Member(0x408, 4),
            "pid": Member(0x4E8, 4),
            "tgid": Member(0x4EC, 4),
            "real_parent": Member(0x500, 8, "pointer"),
            "thread_pid": Member(0x560, 8, "pointer"),
            "pid_links": Member(0x568, 64, "bytes"),
            "thread_node.next": Member(0x5A8, 8, "pointer"),
            "thread_node.prev": Member(0x5B0, 8, "pointer"),
            "real_cred": Member(0x660, 8, "pointer"),
            "comm": Member(0x680, 16, "bytes"),
            "signal": Member(0x6D0, 8, "pointer"),
            "thread.sp": Member(0x990, 8),
        },
    ),
    "struct inactive_task_frame": (
        56,
        {name: Member(8 * n, 8) for n, name in enumerate("r15 r14 r13 r12 bx bp ret_addr".split())},
    ),
    "struct signal_struct": (0x400, {"thread_head.next": Member(0x10, 8, "pointer")}),
    "struct cred": (0xA8, {"uid.val": Member(4, 4)}),
    "struct rq": (
        0xE00,
        {
            "curr": Member(0x918, 8, "pointer"),
            "idle": Member(0x920, 8, "pointer"),
            "cpu": Member(0xA40, 4),
        },
    ),
    "struct cfs_rq": (0x180, {"rq": Member(0x150, 8, "pointer")}),
    "struct cpumask": (0x400, {}),
    "struct pid_namespace": (0x80, {"idr.idr_rt.xa_head": Member(8, 8, "pointer")}),
    "struct xa_node": (0x240, {"slots": Member(0x28, 512, "bytes")}),
    "struct pid": (0x70, {"tasks": Member(0x10, 32, "bytes")}),
    "union thread_union": (0x4000, {"stack": Member(0, 0x4000, "bytes")}),
}


class TableTypes(Types):
    """Types and symbols from tables."""

    def __init__(self, symbols: Mapping[str, int]) -> None:
        self.symbols = symbols

    def symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def size(self, type_name: str) -> int | None:
        return _TYPES[type_name][0] if type_name in _TYPES else None

    def member(self, type_name: str, path: str) -> Member | None:
        return _TYPES[type_name][1].get(path) if type_name in _TYPES else None


class TaskKernel:
    """Processes with threads, each `groups` entry the pids of one, the leader's first.

    `reads` counts the requests to memory; `damage` in the bytes `data`, which begin at BASE.
    """

    def __init__(self, groups: Sequence[Sequence[int]], cpus: int = 4) -> None:
        self.data = bytearray()
        self.reads = 0
        self.symbols: dict[str, int] = {}
        self.groups = [list(group) for group in groups]
        self.pids = [pid for group in self.groups for pid in group]
        self.cpus = cpus
        self.init_task = self._new()
        self.idle = [self.init_task, *(self._new() for _ in range(1, cpus))]
        self.task = {pid: self._new() for pid in self.pids}
        self._fill()
        self.symbols["init_task"] = self.init_task

    def kernel(self) -> Kernel:
        """Return the Kernel."""
        info = Vmcoreinfo({"OSRELEASE": "6.99"})
        return Kernel(TableTypes(self.symbols), Memory(self.fetch), X86_64, info)

    def fetch(self, address: int, size: int) -> bytes:
        self.reads += 1
        at = address - BASE
        if at < 0 or at + size > len(self.data):
            raise Unreadable(address, size)
        return bytes(self.data[at : at + size])

    def put(self, address: int, value: int, size: int = 8) -> None:
        at = address - BASE
        self.data[at : at + size] = value.to_bytes(size, "little")

    def set(self, struct: str, address: int, **values: int | bytes) -> None:
        """Set members; "__" in a name stands for a dot."""
        for name, value in values.items():
            member = _TYPES["struct " + struct][1][
                name.replace("__", ".") if name[0] != "_" else name
            ]
            raw = value if isinstance(value, bytes) else value.to_bytes(member.size, "little")
            at = address + member.offset - BASE
            self.data[at : at + len(raw)] = raw

    def _new(self, slots: int = 1) -> int:
        address = BASE + len(self.data)
        self.data += bytes(SLOT * slots)
        return address

    def _fill(self) -> None:
        cred = self._new()
        self.set("cred", cred, uid__val=1000)
        for cpu, task in enumerate(self.idle):
            self._make_task(task, 0, 0, b"swapper/%d" % cpu, cred)
        for group in self.groups:
            for pid in group:
                self._make_task(self.task[pid], pid, group[0], b"task-%d" % pid, cred)
            self._link_threads(group)
        ring = [self.init_task, *(self.task[group[0]] for group in self.groups)]
        at = _TYPES["struct task_struct"][1]["tasks.next"].offset
        for task, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            self.put(task + at, following + at)
        self._make_pids()
        self._make_cpus()

    def _make_task(self, task: int, pid: int, tgid: int, comm: bytes, cred: int) -> None:
        stack = task + 0xB00  # its frame is in the task's own slot
        self.set("task_struct", task, pid=pid, tgid=tgid, comm=comm, real_cred=cred, __state=1,
                 real_parent=self.init_task, stack=stack, thread__sp=stack)  # fmt: skip
        self.set("inactive_task_frame", stack, ret_addr=0xFFFF_FFFF_8100_0000 + pid, bp=pid)

    def _link_threads(self, group: Sequence[int]) -> None:
        signal = self._new()
        at = _TYPES["struct task_struct"][1]["thread_node.next"].offset
        ring = [signal + 0x10, *(self.task[pid] + at for pid in group)]
        for node, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            self.put(node, following)
            self.put(following + 8, node)
        for pid in group:
            self.set("task_struct", self.task[pid], signal=signal)

    def _make_pids(self) -> None:
        links = _TYPES["struct task_struct"][1]["pid_links"].offset
        level = {}
        for pid in self.pids:
            level[pid] = self._new()
            self.put(level[pid] + 0x10, self.task[pid] + links)
            self.set("task_struct", self.task[pid], thread_pid=level[pid])
        while len(level) > 1 or max(level) > 0:
            above: dict[int, int] = {}
            for index, entry in level.items():
                number, slot = index >> _SHIFT, index % _NODE_SLOTS
                if number not in above:
                    above[number] = self._new() | 2
                self.put(above[number] - 2 + 0x28 + 8 * slot, entry)
            level = above
        namespace = self.symbols["init_pid_ns"] = self._new()
        self.put(namespace + 8, level[0])

    def _make_cpus(self) -> None:
        areas = [self._new(2) for _ in range(self.cpus)]
        self.symbols["runqueues"] = 0x40
        for name, size, values in (
            ("__per_cpu_offset", 8, areas),
            ("nr_cpu_ids", 4, [self.cpus]),
            ("__cpu_possible_mask", 8, [(1 << self.cpus) - 1]),
            ("__cpu_online_mask", 8, [(1 << self.cpus) - 1]),
        ):
            self.symbols[name] = self._new()
            for number, value in enumerate(values):
                self.put(self.symbols[name] + size * number, value, size)
        self.queues = [area + 0x40 for area in areas]
        for cpu, area in enumerate(areas):
            task = self.task[self.pids[0]] if cpu == 1 else self.idle[cpu]
            self.set("rq", area + 0x40, curr=task, idle=self.idle[cpu], cpu=cpu)
        for cpu, idle in enumerate(self.idle):
            self.set("task_struct", idle, thread_info__cpu=cpu)
        self.set("task_struct", self.task[self.pids[0]], thread_info__cpu=1)

    def add_fair_queues(self, cpus: Mapping[int, int]) -> None:
        """Put the tasks of these pids on fair queues of these CPUs, where they do not run."""
        fair = {cpu: self._new() for cpu in set(cpus.values())}
        for cpu, queue in fair.items():
            self.set("cfs_rq", queue, rq=self.queues[cpu])
        for pid, cpu in cpus.items():
            self.set("task_struct", self.task[pid], se__cfs_rq=fair[cpu], thread_info__cpu=cpu)
