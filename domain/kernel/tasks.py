"""One task, and the table of all that the kernel's lists and pids lead to."""

from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

from .errors import Corrupt, KdumpError, Unreadable
from .memory import Layout, Memory, printable
from .structures import list_nodes

PF_KTHREAD = 0x00200000  # include/linux/sched.h
PID_LIMIT = 4 * 1024 * 1024  # PID_MAX_LIMIT, include/linux/threads.h
STATES = "RSDTtXZPI"  # task_index_to_char(), include/linux/sched.h
TASK_REPORT = 0x7F
TASK_IDLE = 0x402  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD
TASK_HIDDEN = 0x1000 | 0x8000  # TASK_RTLOCK_WAIT, TASK_FROZEN: shown as D


def state_letter(state: int, exit_state: int) -> str:
    """Return the letter ps(1) shows: __task_state_index() in include/linux/sched.h."""
    if state & TASK_IDLE == TASK_IDLE:
        return "I"
    if state & TASK_HIDDEN:
        return "D"
    return STATES[((state | exit_state) & TASK_REPORT).bit_length()]


class Task:
    """One task_struct as it was read: `values` holds the members, `address` where it lies."""

    def __init__(self, address: int, values: Dict[str, Any]) -> None:
        self.address = address
        self.values = values
        self.idle_cpu: Optional[int] = None  # number of the CPU whose idle task this is
        self.cpu: Optional[int] = None  # number of the CPU it was running on at the crash

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def is_kthread(self) -> bool:
        """Whether it is a kernel thread, as the idle tasks are."""
        return self.idle_cpu is not None or bool(self.flags & PF_KTHREAD)

    @property
    def name(self) -> str:
        """The command name; a kernel thread's in brackets, as ps(1) has it."""
        comm = printable(self.comm)
        return "[%s]" % comm if self.is_kthread else comm

    @property
    def state_letter(self) -> str:
        """The letter that ps(1) shows for its state."""
        return state_letter(self.state, self.exit_state)

    def doubt(self) -> Optional[str]:
        """Return why this cannot be a task, or None.

        Memory reached through a bad pointer is not one.
        """
        if not 0 <= self.pid <= PID_LIMIT or not 0 <= self.tgid <= PID_LIMIT:
            return "pid %d, tgid %d" % (self.pid, self.tgid)
        if b"\0" not in self.comm:
            return "its name has no end"
        return None


class TaskTable:
    """Finds the tasks: by the lists the scheduler keeps, and by the pids handed out.

    Neither source alone is enough in a crashed kernel: one torn link hides every task beyond it
    from the lists, and a task being born or dying may have no pid.
    """

    def __init__(
        self,
        memory: Memory,
        layout: Layout,
        signal_layout: Layout,
        progress: Optional[Callable[[int], None]] = None,
    ) -> None:
        self.memory = memory
        self.layout = layout
        self.signal_layout = signal_layout
        self.progress = progress or (lambda count: None)
        self.problems: List[str] = []
        self._tasks: Dict[int, Task] = {}  # by address
        self._groups: Dict[int, List[Task]] = {}  # by tgid, in the order of finding
        self._by_pid: Dict[int, Task] = {}

    def at(self, address: int) -> Task:
        """Return the task at `address`; raise Unreadable or Corrupt if there is none."""
        address %= 2**64
        task = self._tasks.get(address)
        if task is None:
            task = Task(address, self.layout.read(self.memory, address))
            doubt = task.doubt()
            if doubt:
                raise Corrupt("no task at 0x%x (%s)" % (address, doubt))
            self._tasks[address] = task
            self.progress(len(self._tasks))
        return task

    def add(self, task: Task) -> None:
        """Count a task in, once; two of one pid cannot be, so the first one found is kept."""
        other = self._by_pid.get(task.pid)
        if other is None:
            self._by_pid[task.pid] = task
            self._groups.setdefault(task.tgid, []).append(task)
        elif other is not task:
            text = "pid %d is there twice: at 0x%x and, left out, at 0x%x"
            self.problems.append(text % (task.pid, other.address, task.address))

    def found(self) -> List[Task]:
        """Return every task added: process by process, threads after their leader."""
        return [task for group in self._groups.values() for task in group]

    def walk_lists(self, init_task: int) -> None:
        """Add every task on the list that begins at init_task, with its threads."""
        offset = self.layout.offset("tasks.next")
        try:
            first = self.at(init_task).values["tasks.next"]
        except KdumpError as error:
            self.problems.append("task list: %s" % error)
            return
        for leader in self._walk(init_task + offset, first, "tasks.next", "task list"):
            self.add(leader)
            self._walk_threads(leader)

    def walk_pids(self, pids: Iterable[int]) -> int:
        """Add the tasks at the addresses `pids` yields that no list led to; return how many."""
        count = 0
        for address in pids:
            known = address in self._tasks
            try:
                task = self.at(address)
            except KdumpError as error:
                self.problems.append("pid tree: %s" % error)
                continue
            if not known:
                self.add(task)
                count += 1
        return count

    def _walk_threads(self, leader: Task) -> None:
        """Add the other threads of a process.

        signal->thread_head exists in every kernel since 3.14; the older task->thread_group went
        with 6.7 and serves only where the former is missing.
        """
        if "thread_node.next" in self.layout:
            if not leader.signal:
                return
            head = leader.signal + self.signal_layout.offset("thread_head.next")
            key = "thread_node.next"
            if leader.values[key] == head == leader.values["thread_node.prev"]:
                return  # alone: no need to read the head
            try:
                first = self.memory.pointer(head)
            except Unreadable as error:
                self.problems.append("threads of pid %d: %s" % (leader.pid, error))
                return
        else:
            key = "thread_group.next"
            head = leader.address + self.layout.offset(key)
            first = leader.values[key]
        for task in self._walk(head, first, key, "threads of pid %d" % leader.pid):
            self.add(task)

    def _walk(self, head: int, first: int, key: str, what: str) -> Iterator[Task]:
        """Yield the tasks on a list; what goes wrong ends it and is kept in `problems`."""
        offset = self.layout.offset(key)
        nodes = list_nodes(head, first, lambda node: self.at(node - offset).values[key], what)
        try:
            for node in nodes:
                yield self.at(node - offset)
        except Corrupt as error:
            text = str(error)
            self.problems.append(text if text.startswith(what) else "%s: %s" % (what, text))
        except Unreadable as error:
            self.problems.append("%s: torn: %s" % (what, error))
