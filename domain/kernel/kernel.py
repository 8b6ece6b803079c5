"""The dumped kernel: whether the symbols match it, and which build and which crash it is."""

import contextlib
from typing import Any, Dict, Optional

from ..arch.model import Arch
from ..vmcoreinfo import Vmcoreinfo
from .errors import KdumpError, Unreadable
from .memory import Layout, Memory, printable
from .notes import find_build_id
from .symbols import Symbols
from .types import Types


class Kernel(Symbols):
    """The dumped kernel, read from its memory with the help of a source of types.

    Raises KdumpError if the types do not suffice or are not this kernel's, or if tasks of the
    architecture cannot be read.
    """

    TASK_MEMBERS = (
        "pid",
        "tgid",
        "flags",
        "comm",
        "exit_state",
        "mm",
        "stack",
        "signal",
        "real_parent",
        "real_cred",
        "tasks.next",
    )
    TASK_OPTIONAL = (
        "thread_node.next",
        "thread_node.prev",
        "thread_group.next",
        "thread_pid",
    )

    def __init__(
        self,
        types: Types,
        memory: Memory,
        arch: Arch,
        vmcoreinfo: Optional[Vmcoreinfo] = None,
    ) -> None:
        super().__init__(types, memory, vmcoreinfo)
        if arch.task_state is None:
            raise KdumpError("tasks of %s kernels cannot be read" % arch.name)
        # gdb reads debug information one source file at a time, and looks first in what it has
        # read. The files of these two variables include almost all types used below.
        self.init_pid_ns = self.address("init_pid_ns")
        self.runqueues = self.address("runqueues")
        self.arch = arch
        self.task_state = arch.task_state(self)
        self.task_layout = self._task_layout()
        self.init_task = self.address("init_task")
        self._check_match()

    def _task_layout(self) -> Layout:
        task = "struct task_struct"
        state = "__state" if self.member(task, "__state") else "state"  # renamed in 5.14
        return self.layout(
            task, self.TASK_MEMBERS, self.TASK_OPTIONAL, dict(self.task_state.saved, state=state)
        )

    def _check_match(self) -> None:
        """Refuse symbols that are not where this kernel was: all that follows would be wrong."""
        try:
            values = self.task_layout.read(self.memory, self.init_task)
        except Unreadable:
            values = {"comm": b""}
        if not values["comm"].startswith(b"swapper"):
            raise KdumpError("no init task at 0x%x: %s" % (self.init_task, self.types.mismatch))

    def identity(self) -> Dict[str, Any]:
        """Return the sidecar's "dump": which kernel, and which crash of it, the data are from."""
        info = self.vmcoreinfo()
        identity: Dict[str, Any] = {
            "release": info.release or self._release(),
            "build_id": info.build_id or self._build_id(),
            "arch": self.arch.name,
        }
        if info.crash_time is not None:
            identity["crash_time"] = info.crash_time
        if info.kaslr_offset is not None:
            identity["kaslr_offset"] = info.kaslr_offset
        return identity

    def _release(self) -> Optional[str]:
        try:
            layout = self.layout("struct uts_namespace", ["name.release"])
            values = layout.read(self.memory, self.address("init_uts_ns"))
        except KdumpError:
            return None
        return printable(values["name.release"])

    def _build_id(self) -> Optional[str]:
        """The build-id in the kernel's notes if the dump has them, else that of the types' file."""
        start, stop = self.find("__start_notes"), self.find("__stop_notes")
        if start and stop and 0 < stop - start < 1 << 16:
            with contextlib.suppress(Unreadable):
                notes = self.memory.fetch(start, stop - start)
                build_id = find_build_id(notes, self.memory.byte_order)
                if build_id:
                    return build_id
        return self.types.build_id()
