"""The task that each CPU ran, found with few symbols and types and without a Kernel."""

from itertools import islice
from typing import Any, Dict, Iterator, Optional, Tuple

from .errors import Corrupt, KdumpError, Unreadable
from .memory import Layout
from .percpu import PerCpu
from .structures import list_nodes
from .symbols import Symbols
from .tasks import PID_LIMIT

# The symbols that are asked for here.
SYMBOLS = ("current_task", "init_task", "pcpu_hot", "runqueues")

TASK = "struct task_struct"
MOST_TASKS = 1 << 20  # a damaged list may be endless without a loop


class CurrentTasks:
    """Finds the pid of the task that a CPU ran at the crash.

    By the CPU's own variable for it: `current_task`, or the first member of `pcpu_hot` (6.2 to
    6.14), arch/x86/include/asm/current.h. Other architectures keep it in a register, so there
    the scheduler's word counts: `curr` in the CPU's runqueue (kernel/sched/sched.h). Where that
    is not known either, each task tells whether it is on a CPU, and on which; of a CPU that no
    task on the task list was on, nothing is known then, since idle tasks are not on it.
    """

    def __init__(self, symbols: Symbols, per_cpu: PerCpu) -> None:
        self.symbols = symbols
        self.per_cpu = per_cpu
        self._by_tasks: Optional[Dict[int, int]] = None

    def pid(self, cpu: int) -> Optional[int]:
        """Return the pid (in the kernel: of a thread) on a CPU, 0 for its idle task.

        None if the dump does not tell.
        """
        try:
            task = self._task(cpu)
            if task is None:
                return None
            pid = self.symbols.layout(TASK, ["pid"]).read(self.symbols.memory, task)["pid"]
        except KdumpError:
            return None
        return int(pid) if pid <= PID_LIMIT else None

    def _task(self, cpu: int) -> Optional[int]:
        """The address of its task_struct; KdumpError."""
        memory = self.symbols.memory
        if cpu not in self.per_cpu.offsets:
            return None
        for name in ("current_task", "pcpu_hot"):
            variable = self.symbols.find(name)
            if variable is not None:
                return memory.pointer(self.per_cpu.address(variable, cpu))
        runqueues = self.symbols.find("runqueues")
        if runqueues is not None:
            layout = self.symbols.layout("struct rq", ["curr"], ["cpu"])
            values = layout.read(memory, self.per_cpu.address(runqueues, cpu))
            return int(values["curr"]) if values.get("cpu", cpu) == cpu else None
        if self._by_tasks is None:
            self._by_tasks = self._find_on_cpus()
        return self._by_tasks.get(cpu)

    def _find_on_cpus(self) -> Dict[int, int]:
        """{CPU: address of the task on it}, as the tasks have it; KdumpError."""
        # In thread_info since 5.16, where that is part of task_struct.
        moved = self.symbols.member(TASK, "thread_info.cpu")
        names = {"cpu": "thread_info.cpu" if moved else "cpu"}
        layout = self.symbols.layout(TASK, ["on_cpu", "tasks.next"], (), names)
        found: Dict[int, int] = {}
        taken_twice = set()
        for task, values in self._tasks(layout):
            if values["on_cpu"] and found.setdefault(values["cpu"], task) != task:
                taken_twice.add(values["cpu"])
        return {cpu: task for cpu, task in found.items() if cpu not in taken_twice}

    def _tasks(self, layout: Layout) -> Iterator[Tuple[int, Dict[str, Any]]]:
        """Yield what is read of init_task and of each task on the task list, as far as it goes."""
        memory, link = self.symbols.memory, layout.offset("tasks.next")
        init_task = self.symbols.address("init_task")
        values = layout.read(memory, init_task)
        yield init_task, values
        nodes = list_nodes(
            init_task + link, values["tasks.next"], lambda node: int(values["tasks.next"]), "tasks"
        )
        try:
            for node in islice(nodes, MOST_TASKS):
                values = layout.read(memory, node - link)
                yield node - link, values
        except (Corrupt, Unreadable):
            return  # what was read before it still counts
