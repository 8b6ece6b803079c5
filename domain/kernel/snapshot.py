"""All tasks at the time of the crash, as `kdump-gdbserver -k` takes them."""

from typing import Any, Callable, Dict, List, Optional

from .cpus import Cpus
from .errors import KdumpError, Unreadable
from .kernel import Kernel
from .pids import Pids
from .tasks import Task, TaskTable


class Snapshot:
    """All tasks at the time of the crash: idle tasks first, then process by process."""

    def __init__(
        self,
        kernel: Kernel,
        table: TaskTable,
        tasks: List[Task],
        cpus: List[Dict[str, Any]],
    ) -> None:
        self.kernel = kernel
        self.table = table
        self.tasks = tasks
        self.cpus = cpus
        self.problems = table.problems
        self._on_cpu = {cpu["curr"] for cpu in cpus}
        self._uid_of: Dict[int, Optional[int]] = {}  # by address of struct cred, often shared
        self._cred = kernel.layout("struct cred", ["uid.val"])

    def parent_pid(self, task: Task) -> Optional[int]:
        """Return the process id of the task's parent; None if the parent is not in the dump."""
        try:
            return int(self.table.at(task.real_parent).tgid)
        except KdumpError as error:
            self.problems.append("parent of pid %d: %s" % (task.pid, error))
            return None

    def uid(self, task: Task) -> Optional[int]:
        """Return the user id, in the initial user name space; None if it is not in the dump."""
        cred = task.real_cred
        if cred not in self._uid_of:
            try:
                self._uid_of[cred] = self._cred.read(self.kernel.memory, cred)["uid.val"]
            except Unreadable as error:
                self.problems.append("credentials of pid %d: %s" % (task.pid, error))
                self._uid_of[cred] = None
        return self._uid_of[cred]

    def registers(self, task: Task) -> Dict[str, int]:
        """Return what is known of the task's registers: nothing, if a CPU was still using them.

        A running task's switch frame is left over from its last sleep; an offline CPU's idle
        task never came back from its last one. A zombie's stack is another task's by now
        (release_task_stack() in kernel/fork.c).
        """
        if not task.stack or task.address in self._on_cpu:
            return {}
        try:
            return self.kernel.task_state.switch_registers(task.values)
        except Unreadable as error:
            self.problems.append("registers of pid %d: %s" % (task.pid, error))
            return {}

    def sidecar(self) -> Dict[str, Any]:
        """Return what kdump-save-kernel-json writes, as a dict."""
        threads = [self._thread(task) for task in self.tasks]
        return {
            "format": "kdump-gdbserver kernel tasks",
            "version": 1,
            "dump": self.kernel.identity(),
            "cpus": self.cpus,
            "errors": self.problems,
            "threads": threads,
        }

    def _thread(self, task: Task) -> Dict[str, Any]:
        thread = {
            "pid": task.tgid,
            "tid": task.pid,
            "ppid": self.parent_pid(task),
            "uid": self.uid(task),
            "comm": task.name,
            "kthread": task.is_kthread,
            "address": task.address,
            "state": task.state_letter,
            "registers": self.registers(task),
        }
        if task.cpu is not None:
            thread["cpu"] = task.cpu
        if task.idle_cpu is not None:
            thread["idle_cpu"] = task.idle_cpu
        return thread


def read_tasks(kernel: Kernel, progress: Optional[Callable[[int], None]] = None) -> Snapshot:
    """Return every task of the kernel, and what went wrong.

    `progress` is called with the number of tasks read, after each of them. Raises KdumpError if
    nothing can be read at all.
    """
    signal_layout = kernel.layout("struct signal_struct", (), ["thread_head.next", "nr_threads"])
    table = TaskTable(kernel.memory, kernel.task_layout, signal_layout, progress)
    problems = table.problems
    try:
        cpus = Cpus(kernel, problems).read()
    except KdumpError as error:
        problems.append("CPUs: %s" % error)
        cpus = []
    idle = _idle_tasks(kernel, table, cpus)
    table.walk_lists(kernel.init_task)
    torn = bool(problems)
    known = {task.values.get("thread_pid") for task in table.found()}
    extra = table.walk_pids(Pids(kernel, problems).tasks(known))
    if torn and extra:
        problems.append("%d more task(s) found by their pids" % extra)
    running = {cpu["curr"]: cpu["cpu"] for cpu in cpus if cpu["online"]}
    tasks = idle + table.found()
    for task in tasks:
        task.cpu = running.get(task.address)
    return Snapshot(kernel, table, tasks, cpus)


def _idle_tasks(kernel: Kernel, table: TaskTable, cpus: List[Dict[str, Any]]) -> List[Task]:
    """Each CPU's idle task: they are on no list and have no pid of their own."""
    tasks = []
    idle = [(cpu["cpu"], cpu["idle"]) for cpu in cpus if cpu["idle"]]
    for cpu, address in idle or [(0, kernel.init_task)]:
        try:
            task = table.at(address)
        except KdumpError as error:
            table.problems.append("idle task of CPU %d: %s" % (cpu, error))
            continue
        task.idle_cpu = cpu
        tasks.append(task)
    return tasks
