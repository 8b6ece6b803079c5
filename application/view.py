"""View: what gdb sees as an inferior, and the sessions clients have on it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.monitor.monitor import DumpMonitor
from kdump_gdbserver.application.monitor.monitor_target import MonitorTarget
from kdump_gdbserver.application.page_table_map import PageTableMap
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.domain.threads import Thread, ThreadTable
from kdump_gdbserver.ports.memory_map import MemoryMap
from kdump_gdbserver.ports.monitor import Monitor
from kdump_gdbserver.ports.os_tables import OsTable
from kdump_gdbserver.ports.remote_files import RemoteFiles
from kdump_gdbserver.ports.thread_locals import ThreadLocals


@dataclass(frozen=True, slots=True)
class View:
    """One inferior: fixed once made, so any number of sessions can share it.

    `open_memory` makes an address space for one session, `open_thread_locals` what finds
    thread-local variables in it. `current_reason` says how the current thread was chosen.
    `text_segment` is the run-time address of the symbol file's first PT_LOAD, None when
    symbols need no relocation; `load_offset` is what was added to the file's addresses.
    With `dump_memory` there are physical memory, a memory map and monitor commands, too; the
    page table of `root_table` (None: the kernel's) is the one of the view's addresses.
    `memory_map` is there where more is known than page tables tell; `title` names what is
    shown. `build_id` is that of the process's executable, where the dump has it.
    """

    arch: Arch
    layout: RegisterLayout
    threads: ThreadTable
    current: Thread
    open_memory: Callable[[], AddressSpace]
    text_segment: int | None = None
    current_reason: str = ""
    auxv: bytes | None = None
    files: RemoteFiles | None = None
    exec_file: str | None = None
    open_thread_locals: Callable[[AddressSpace], ThreadLocals] | None = None
    load_offset: int | None = None
    dump_memory: DumpMemory | None = None
    root_table: RootTable | None = None
    os_tables: Sequence[OsTable] = ()
    memory_map: MemoryMap | None = None
    title: str = "the kernel"
    build_id: str | None = None

    def open_session(self) -> ViewSession:
        """Return a session of its own for one client."""
        return ViewSession(self, self.open_memory())


class ViewSession:
    """A `DebugSession` on a view: the shared facts and an address space of its own."""

    def __init__(self, view: View, memory: AddressSpace) -> None:
        self.arch = view.arch
        self.layout = view.layout
        self.threads = view.threads
        self.current = view.current
        self.text_segment = view.text_segment
        self.auxv = view.auxv
        self.files = view.files
        self.exec_file = view.exec_file
        self.thread_locals: ThreadLocals | None = (
            view.open_thread_locals(memory) if view.open_thread_locals else None
        )
        self.load_offset = view.load_offset
        offset = view.load_offset or 0
        self.load_bases = (offset, offset + view.arch.image_base)
        self.os_tables = view.os_tables
        self.facts = view.dump_memory.dump.facts if view.dump_memory else None
        self.physical_mode = False
        self.read_memory = memory.read
        self._view = view
        self._virtual = memory

    @functools.cached_property
    def monitor(self) -> Monitor | None:
        """Commands about the dump."""
        view = self._view
        if view.dump_memory is None:
            return None
        count = len(view.threads)
        current = f"thread {view.current.id.pid}.{view.current.id.tid} ({view.current.extra})"
        return DumpMonitor(
            MonitorTarget(
                session=self,
                memory=view.dump_memory,
                root_table=view.root_table,
                shown=f"{count} thread{'s' * (count != 1)} of {view.title}",
                current=f"{current}{view.current_reason and ', found by ' + view.current_reason}",
            )
        )

    @property
    def memory_map(self) -> MemoryMap | None:
        """What is mapped; nothing is known of physical addresses."""
        view = self._view
        if view.dump_memory is None or self.physical_mode:
            return None
        return view.memory_map or PageTableMap(view.dump_memory, view.root_table)

    def set_physical_mode(self, physical: bool) -> None:
        """Let addresses be physical or virtual from now on; `InputError` if there are none."""
        of_dump = self._view.dump_memory
        if physical and of_dump is None:
            raise InputError("this view has no physical memory")
        memory = of_dump.physical() if physical and of_dump else self._virtual
        self.read_memory = memory.read
        self.physical_mode = physical


class DeferredTarget:
    """A target whose view is made when it is first wanted, once for all clients.

    Listening need not wait for the look-ups that a view takes; `prepare` can run in the
    background meanwhile.
    """

    def __init__(self, open_view: Callable[[], View]) -> None:
        self._open_view = open_view
        self._lock = threading.Lock()
        self._view: View | None = None

    def prepare(self) -> View:
        """Make the view if that has not been done, and return it."""
        with self._lock:
            if self._view is None:
                self._view = self._open_view()
            return self._view

    def open_session(self) -> ViewSession:
        """Return a session of its own for one client."""
        return self.prepare().open_session()
