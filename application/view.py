"""View: what gdb sees as an inferior, and the sessions clients have on it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kdump_gdbserver.application.client_symbols import ClientSymbols
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.ports.debug_session import Inferior
from kdump_gdbserver.ports.memory_map import MemoryMap
from kdump_gdbserver.ports.monitor import Monitor
from kdump_gdbserver.ports.symbol_questions import SymbolQuestions
from kdump_gdbserver.ports.thread_locals import ThreadLocals


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Inferior):
    """One inferior, and how clients get at its memory.

    `open_memory` makes an address space for one session, `open_thread_locals` what finds
    thread-local variables in it. `current_reason` says how the current thread was chosen.
    With `dump_memory` there are physical memory, a memory map and monitor commands, too; the
    page table of `root_table` (None: the kernel's) is the one of the view's addresses.
    `memory_map` is there where more is known than page tables tell; `title` names what is
    shown, `text` where the kernel's image is, and `symbols` where its symbols are from.
    `build_id` is that of the process's executable, where the dump has it. `unwind_data` says
    what debuggers are given to unwind by, or why they are not. `served` says what they get for
    the kernel's program.
    """

    open_memory: Callable[[], AddressSpace]
    current_reason: str = ""
    open_thread_locals: Callable[[AddressSpace], ThreadLocals] | None = None
    dump_memory: DumpMemory | None = None
    root_table: RootTable | None = None
    memory_map: MemoryMap | None = None
    text: str | None = None
    symbols: Callable[[], str] | None = None
    title: str = "the kernel"
    build_id: str | None = None
    unwind_data: str = ""
    served: Callable[[], str] | None = None

    def open_session(self) -> ViewSession:
        """Return a session of its own for one client."""
        return ViewSession(self, self.open_memory())


class ViewSession:
    """A `DebugSession` on a view: the shared facts and an address space of its own."""

    def __init__(self, view: View, memory: AddressSpace) -> None:
        self.inferior: Inferior = view
        self.read_memory = memory.read
        self.thread_locals: ThreadLocals | None = (
            view.open_thread_locals(memory) if view.open_thread_locals else None
        )
        of_dump = view.dump_memory
        self._client_symbols = (
            ClientSymbols(of_dump.dump.vmcoreinfo) if of_dump and view.root_table is None else None
        )
        self.symbol_questions: SymbolQuestions | None = self.thread_locals or self._client_symbols
        self.physical = _PhysicalSwitch(self, of_dump, memory) if of_dump else None
        self._view = view

    @functools.cached_property
    def monitor(self) -> Monitor | None:
        """Commands about the dump."""
        view = self._view
        if view.dump_memory is None or self.physical is None:
            return None
        # Loaded with the first command.
        from kdump_gdbserver.application.monitor.monitor import DumpMonitor
        from kdump_gdbserver.application.monitor.monitor_target import MonitorTarget

        count = len(view.threads)
        current = f"thread {view.current.id.pid}.{view.current.id.tid} ({view.current.extra})"
        return DumpMonitor(
            MonitorTarget(
                session=self,
                physical=self.physical,
                memory=view.dump_memory,
                root_table=view.root_table,
                shown=f"{count} thread{'s' * (count != 1)} of {view.title}",
                text=view.text,
                symbols=view.symbols,
                current=f"{current}{view.current_reason and ', found by ' + view.current_reason}",
                unwind_data=view.unwind_data,
                served=view.served,
                client_symbols=self._client_symbols,
            )
        )

    @property
    def memory_map(self) -> MemoryMap | None:
        """What is mapped; None while addresses are physical."""
        view = self._view
        if view.dump_memory is None or (self.physical and self.physical.active):
            return None
        from kdump_gdbserver.application.page_table_map import PageTableMap

        return view.memory_map or PageTableMap(view.dump_memory, view.root_table)


class _PhysicalSwitch:
    """Switches a session's reads to physical memory and back; a `ports.PhysicalMemory`."""

    def __init__(self, session: ViewSession, dump: DumpMemory, virtual: AddressSpace) -> None:
        self._session = session
        self._dump = dump
        self._virtual = virtual
        self.active = False

    def switch(self, on: bool) -> None:
        """See `PhysicalMemory.switch`."""
        memory = self._dump.physical() if on else self._virtual
        self._session.read_memory = memory.read
        self.active = on


class DeferredTarget:
    """A target whose view is made when first needed, once for all clients.

    So the server can listen before there is a view; `prepare` makes it in the background.
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
