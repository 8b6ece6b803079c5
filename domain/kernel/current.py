"""The task that each CPU was running, found with few symbols and types and without a Kernel."""

from typing import Dict, Iterable, List, Optional, Set

from .errors import Corrupt, KdumpError
from .percpu import PerCpu
from .symbols import Symbols
from .tasks import PID_LIMIT, Task, TaskTable

# The symbols that are asked for here.
SYMBOLS = ("current_task", "init_task", "pcpu_hot", "runqueues")

TASK = "struct task_struct"
RUNQUEUE = "struct rq"
MOST_TASKS = 1 << 20  # a damaged list may be endless without a loop
_LEAST_STACK = 1 << 14  # THREAD_SIZE is no less on any 64-bit architecture


class CurrentTasks:
    """Finds the task that a CPU was running at the crash.

    x86 has a per-CPU variable for it: `current_task`, or the first member of `pcpu_hot` (6.2 to
    6.14), arch/x86/include/asm/current.h. Other architectures keep it in a register, so the
    scheduler is asked: `curr` in the CPU's runqueue (kernel/sched/sched.h). Where no symbol locates
    the runqueues, the tasks lead to them: `se.cfs_rq.rq`, with CONFIG_FAIR_GROUP_SCHED. Failing
    that, each task says whether it is on a CPU, and on which one; an idle CPU then stays unknown,
    since idle tasks are on no list.
    """

    def __init__(self, symbols: Symbols, per_cpu: PerCpu) -> None:
        self.symbols = symbols
        self.per_cpu = per_cpu
        self._listed: Optional[Dict[int, int]] = None

    def cpus(self) -> List[int]:
        """Return the CPUs whose task may be known, in order; KdumpError."""
        return sorted(self.per_cpu.offsets or self._by_lists())

    def pid(self, cpu: int) -> Optional[int]:
        """Return the kernel's pid (a thread's) of a CPU's task, 0 for its idle task.

        None if the dump does not tell.
        """
        pid = self._member(cpu, "pid")
        return pid if pid is not None and pid <= PID_LIMIT else None

    def stack(self, cpu: int) -> Optional[range]:
        """Return the addresses of the stack of a CPU's task, None if the dump does not say.

        If its size is not known, the smallest of any architecture is taken.
        """
        start = self._member(cpu, "stack")
        size = self.symbols.types.size("union thread_union") or _LEAST_STACK
        return None if start is None else range(start, start + size)

    def _member(self, cpu: int, name: str) -> Optional[int]:
        try:
            task = self._task(cpu)
            if task is None:
                return None
            value = self.symbols.layout(TASK, [name]).read(self.symbols.memory, task)[name]
        except KdumpError:
            return None
        return int(value)

    def _task(self, cpu: int) -> Optional[int]:
        """The address of its task_struct; KdumpError."""
        memory = self.symbols.memory
        if cpu in self.per_cpu.offsets:
            for name in ("current_task", "pcpu_hot"):
                variable = self.symbols.find(name)
                if variable is not None:
                    return memory.pointer(self.per_cpu.address(variable, cpu))
            runqueues = self.symbols.find("runqueues")
            if runqueues is not None:
                layout = self.symbols.layout(RUNQUEUE, ["curr"], ["cpu"])
                values = layout.read(memory, self.per_cpu.address(runqueues, cpu))
                return int(values["curr"]) if values.get("cpu", cpu) == cpu else None
        return self._by_lists().get(cpu)

    def _by_lists(self) -> Dict[int, int]:
        """{CPU: address of the task on it}, as the lists of tasks lead to them; KdumpError."""
        if self._listed is None:
            self._listed = {}
            tasks = self._read_tasks()
            self._listed.update(_on_cpus(tasks))
            self._listed.update(self._by_queues(tasks))
        return self._listed

    def _read_tasks(self) -> List[Task]:
        """Read the tasks of all threads, as far as the lists go; KdumpError."""
        # In thread_info since 5.16, where that is part of task_struct.
        moved = self.symbols.member(TASK, "thread_info.cpu")
        layout = self.symbols.layout(
            TASK,
            ["pid", "tgid", "comm", "signal", "on_cpu", "tasks.next"],
            ["thread_node.next", "thread_node.prev", "thread_group.next", "se.cfs_rq"],
            {"cpu": "thread_info.cpu" if moved else "cpu"},
        )
        signals = self.symbols.layout(
            "struct signal_struct", (), ["thread_head.next", "nr_threads"]
        )
        table = TaskTable(self.symbols.memory, layout, signals, _check_count)
        table.walk_lists(self.symbols.address("init_task"))
        return table.found()

    def _by_queues(self, tasks: Iterable[Task]) -> Dict[int, int]:
        """{CPU: address of its task}, by the runqueues that tasks lead to.

        A runqueue is believed if it has the same CPU as the task that leads to it and the task that
        it runs, and if it is the only one for that CPU.
        """
        member = self.symbols.types.member("struct cfs_rq", "rq")
        if member is None or not self.symbols.types.member(RUNQUEUE, "cpu"):
            return {}  # a kernel for one CPU, or one without groups
        memory = self.symbols.memory
        queue_layout = self.symbols.layout(RUNQUEUE, ["curr", "cpu"])
        moved = self.symbols.member(TASK, "thread_info.cpu")
        task_layout = self.symbols.layout(
            TASK, (), (), {"cpu": "thread_info.cpu" if moved else "cpu"}
        )
        found: Dict[int, Dict[int, int]] = {}  # by CPU: of each queue the task that it runs
        seen: Set[int] = set()
        for task in tasks:
            fair = task.values.get("se.cfs_rq")
            if not fair or fair in seen:
                continue
            seen.add(fair)
            try:
                queue = memory.pointer(fair + member.offset)
                values = queue_layout.read(memory, queue)
                cpu = values["cpu"]
                if cpu != task.values["cpu"]:
                    continue
                if task_layout.read(memory, values["curr"])["cpu"] == cpu:
                    found.setdefault(cpu, {})[queue] = int(values["curr"])
            except KdumpError:
                continue
        return {
            cpu: task
            for cpu, queues in found.items()
            if len(queues) == 1
            for task in queues.values()
        }


def _check_count(count: int) -> None:
    if count > MOST_TASKS:
        raise Corrupt("the lists have more tasks than there can be")


def _on_cpus(tasks: Iterable[Task]) -> Dict[int, int]:
    """{CPU: address of the task on it}, as the tasks have it; no CPU can have two."""
    found: Dict[int, int] = {}
    taken_twice = set()
    for task in tasks:
        cpu = task.values["cpu"]
        if task.values["on_cpu"] and found.setdefault(cpu, task.address) != task.address:
            taken_twice.add(cpu)
    return {cpu: task for cpu, task in found.items() if cpu not in taken_twice}
