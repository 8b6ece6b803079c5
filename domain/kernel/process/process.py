"""One user process, as `kdump-gdbserver -j` takes it."""

from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ...address_space import USER_END
from ...arch import COMPAT
from ..errors import KdumpError, Unreadable
from ..snapshot import Snapshot
from ..tasks import Task
from .mappings import Mappings
from .paths import Paths
from .signals import Signals
from .user_memory import UserMemory
from .user_registers import UserRegisters


class Process:
    """One user process, with all that a core file of it would hold.

    `pid` may be that of any of its threads; `cpu_registers` is as UserRegisters has it. Raises
    KdumpError if there is no such process, or it has no user memory.
    """

    MM_MEMBERS = (
        "pgd",
        "exe_file",
        "saved_auxv",
        "start_code",
        "end_code",
        "start_brk",
        "brk",
        "start_stack",
        "arg_start",
        "arg_end",
        "env_start",
        "env_end",
    )
    LONGEST_COMMAND = 1 << 20

    def __init__(
        self,
        snapshot: Snapshot,
        pid: int,
        cpu_registers: Callable[[Task], Dict[str, int]],
    ) -> None:
        self.snapshot = snapshot
        self.kernel = snapshot.kernel
        self.state = self.kernel.task_state
        self.problems = list(snapshot.problems)
        named = self._named(pid)
        self.pid = named.tgid
        self.threads = [
            task for task in snapshot.tasks if task.tgid == self.pid and not task.exit_state
        ]
        self.mm = self._mm(named)
        self.auxv, self.auxv_is_32 = parse_auxv(
            self.mm.values["saved_auxv"], self.kernel.memory.byte_order
        )
        if self.auxv_is_32:
            self._require_compat()
        self.registers = UserRegisters(self.kernel, self.problems, cpu_registers)

    def _named(self, pid: int) -> Task:
        """The task of that pid, if it has, or had, user memory."""
        task = next((task for task in self.snapshot.tasks if task.pid == pid), None)
        if task is None:
            raise KdumpError("no process or thread has pid %d: kdump-kernel-ps lists them" % pid)
        if task.is_kthread:
            raise KdumpError(
                "pid %d is the kernel thread %s: it has no user memory" % (pid, task.name)
            )
        return task

    def _mm(self, named: Task) -> Task:
        address = next((task.mm for task in self.threads if task.mm), 0)
        if not address:
            raise KdumpError("pid %d (%s) has exited: its memory is gone" % (named.pid, named.name))
        layout = self.kernel.layout("struct mm_struct", self.MM_MEMBERS, ["mm_mt.ma_root", "mmap"])
        return Task(address, layout.read(self.kernel.memory, address))

    def _require_compat(self) -> None:
        name = self.kernel.arch.name
        if COMPAT.get(name) is None:
            raise KdumpError("32-bit processes of %s kernels are not supported" % name)

    def sidecar(self) -> Dict[str, Any]:
        """What kdump-save-process-json writes, as a dict."""
        vmas = Mappings(self.kernel, self.mm, self.problems)
        mappings = vmas.all()
        threads, compat = self._threads(mappings)
        exe, loadaddr = self._executable(vmas.paths, mappings)
        leader = next((task for task in self.snapshot.tasks if task.pid == self.pid), None)
        content = {
            "format": "kdump-gdbserver process",
            "version": 1,
            "dump": self.kernel.identity(),
            "pid": self.pid,
            "comm": (leader or self.threads[0]).name,
            "rootpgt": self.mm.values["pgd"],
            "loadaddr": loadaddr,
            "mode": 32 if compat else 64,
            "exe": exe,
            "cwd": self._working_directory(vmas.paths),
            "cmdline": self._command_line(),
            "auxv": "".join("%02x" % byte for byte in self.auxv),
        }
        for name in self.MM_MEMBERS[3:]:
            content[name] = self.mm.values[name]
        content.update(threads=threads, vmas=mappings, errors=self.problems)
        return content

    def _executable(
        self, paths: Paths, mappings: List[Dict[str, Any]]
    ) -> Tuple[Optional[str], int]:
        """(path, start of its first executable mapping).

        The earlier script had the first executable mapping of all, which is the same one unless
        something odd is mapped below the executable.
        """
        try:
            exe, inode, device = paths.look(self.mm.values["exe_file"])
        except KdumpError as error:
            self.problems.append("executable: %s" % error)
            exe, inode, device = None, None, None
        code = [vma for vma in mappings if "x" in vma["perms"]]
        own = [vma for vma in code if (vma["inode"], vma["dev"]) == (inode, device)]
        return exe, min((vma["start"] for vma in own or code), default=0)

    def _working_directory(self, paths: Paths) -> Optional[str]:
        """The current directory of the process, None if the dump does not say."""
        memory = self.kernel.memory
        try:
            member = self.kernel.layout("struct task_struct", ["fs"]).offset("fs")
            pwd = self.kernel.layout("struct fs_struct", ["pwd.mnt", "pwd.dentry"])
            for task in self.threads:
                fs = memory.pointer(task.address + member)
                if fs:
                    values = pwd.read(memory, fs)
                    return paths.of(values["pwd.mnt"], values["pwd.dentry"])
        except KdumpError as error:
            self.problems.append("working directory: %s" % error)
        return None

    def _command_line(self) -> List[str]:
        start, end = self.mm.values["arg_start"], self.mm.values["arg_end"]
        size = min(end - start, self.LONGEST_COMMAND)
        if size <= 0:
            return []
        try:
            raw = UserMemory(self.kernel, self.mm.values["pgd"]).fetch(start, size)
        except Unreadable as error:
            self.problems.append("command line: %s" % error)
            return []
        if raw.endswith(b"\0"):
            raw = raw[:-1]
        return [part.decode("utf-8", "backslashreplace") for part in raw.split(b"\0")]

    def _threads(self, mappings: List[Dict[str, Any]]) -> Tuple[List[Dict[str, Any]], bool]:
        """(the threads' dicts, whether it is a 32-bit process)."""
        signals = Signals(self.kernel)
        states = [(task, self.registers.of(task, mappings)) for task in self.threads]
        compat = any(self.state.is_compat(regs, self.auxv_is_32) for _, (regs, _) in states)
        threads = []
        for task, (registers, user_mode) in states:
            thread = {
                "pid": task.tgid,
                "tid": task.pid,
                "comm": task.name,
                "registers": registers,
                "fpregs": self.registers.floating_point(task),
            }
            if compat:
                thread["registers"] = self.state.compat_registers(registers)
                thread["fpregs"] = self.state.compat_fp_registers(thread["fpregs"])
            if task.cpu is not None:
                thread["cpu"] = task.cpu
            if user_mode is not None:
                thread["user_mode"] = user_mode
            self._add_signal(thread, task, signals)
            threads.append(thread)
        return threads, compat

    def _add_signal(self, thread: Dict[str, Any], task: Task, signals: Signals) -> None:
        try:
            info = signals.of(task)
            if info:
                thread["siginfo"] = info
            address = self.state.fault_address(self.registers.thread_values(task))
            if address is not None and address < USER_END:
                thread["fault_address"] = address
        except Unreadable as error:
            self.problems.append("signals of pid %d: %s" % (task.pid, error))


def parse_auxv(saved: bytes, byte_order: Any) -> Tuple[bytes, bool]:
    """(mm->saved_auxv up to and including AT_NULL, whether it is a 32-bit program's).

    Pairs of words, of the program's size (fs/binfmt_elf.c, fs/compat_binfmt_elf.c). The types
    are small numbers, so that two 32-bit words taken for one 64-bit type give it away.
    """

    def pairs(size: int) -> Iterator[Tuple[int, int]]:
        for at in range(0, len(saved) - 2 * size + 1, 2 * size):
            yield int.from_bytes(saved[at : at + size], byte_order), at + 2 * size

    for size in (8, 4):
        for kind, end in pairs(size):
            if kind == 0:
                return saved[:end], size == 4
            if kind > 0xFFFF:
                break
    return b"", False
