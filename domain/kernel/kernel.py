"""The kernel in the dump: do the symbols match it, which build and crash is it."""

import contextlib
from typing import Any, Dict, Optional, Type

from .arch.architecture import Architecture
from .errors import KdumpError, Unreadable
from .memory import Layout, Memory, printable
from .notes import find_build_id
from .symbols import Symbols
from .types import Types


class Kernel(Symbols):
    """The kernel in the dump, as a source of types and its memory tell it.

    Raises KdumpError if the types do not suffice, or are not this kernel's.
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
        arch: Type[Architecture],
        notes: Optional[Dict[str, str]] = None,
    ) -> None:
        super().__init__(types, memory, notes)
        # gdb reads the debug information of a source file when it needs something of it, and
        # looks first at what it has: these two files' include almost all types used below.
        self.init_pid_ns = self.address("init_pid_ns")
        self.runqueues = self.address("runqueues")
        self.arch = arch(self)
        self.task_layout = self._task_layout()
        self.init_task = self.address("init_task")
        self._check_match()

    def _task_layout(self) -> Layout:
        task = "struct task_struct"
        state = "__state" if self.member(task, "__state") else "state"  # renamed in 5.14
        return self.layout(
            task, self.TASK_MEMBERS, self.TASK_OPTIONAL, dict(self.arch.saved, state=state)
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
        notes = self.vmcoreinfo()
        identity: Dict[str, Any] = {
            "release": notes.get("OSRELEASE") or self._release(),
            "build_id": notes.get("BUILD-ID") or self._build_id(),
            "arch": self.arch.name,
        }
        if "CRASHTIME" in notes:
            identity["crash_time"] = int(notes["CRASHTIME"])
        if "KERNELOFFSET" in notes:
            identity["kaslr_offset"] = int(notes["KERNELOFFSET"], 16)
        return identity

    def _release(self) -> Optional[str]:
        try:
            layout = self.layout("struct uts_namespace", ["name.release"])
            values = layout.read(self.memory, self.address("init_uts_ns"))
        except KdumpError:
            return None
        return printable(values["name.release"])

    def _build_id(self) -> Optional[str]:
        """From the dump if it has the kernel's notes, else from where the types are from."""
        start, stop = self.find("__start_notes"), self.find("__stop_notes")
        if start and stop and 0 < stop - start < 1 << 16:
            with contextlib.suppress(Unreadable):
                notes = self.memory.fetch(start, stop - start)
                build_id = find_build_id(notes, self.memory.byte_order)
                if build_id:
                    return build_id
        return self.types.build_id()
