"""DebugSession: what one debugger connection can see; the RSP adapter knows no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.dump_facts import DumpFacts
from kdump_gdbserver.domain.placement import UNKNOWN, Placement
from kdump_gdbserver.domain.threads import Thread, ThreadTable
from kdump_gdbserver.ports.libraries import Library
from kdump_gdbserver.ports.memory_map import MemoryMap
from kdump_gdbserver.ports.monitor import Monitor
from kdump_gdbserver.ports.os_tables import OsTable
from kdump_gdbserver.ports.physical_memory import PhysicalMemory
from kdump_gdbserver.ports.remote_files import RemoteFiles
from kdump_gdbserver.ports.symbol_questions import SymbolQuestions
from kdump_gdbserver.ports.thread_locals import ThreadLocals


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferior:
    """What a debugger is told of an inferior; fixed once made, so sessions share it.

    All threads have registers of `layout`; `threads` are in gdb's order, `current` is the one it
    shows first. `placement` is that of the symbol file. `facts` are the dump's. None stands for
    what the view does not have: `auxv`, the auxiliary vector as the kernel lays it out;
    `exec_file`, the executable's path on its machine; `files`, those of the dumped machine.
    `addressing_bits` is how many bits of an address count where those above hold more than copies
    of the highest. `libraries` are told only where the debugger cannot find them in memory.
    """

    arch: Arch
    layout: RegisterLayout
    threads: ThreadTable
    current: Thread
    placement: Placement = UNKNOWN
    facts: DumpFacts | None = None
    auxv: bytes | None = None
    exec_file: str | None = None
    files: RemoteFiles | None = None
    os_tables: Sequence[OsTable] = ()
    libraries: Sequence[Library] = ()
    addressing_bits: int | None = None


class DebugSession(Protocol):
    """One inferior, as one client sees it: its facts, its memory, and what else there is.

    Each capability is None where the view has none; the RSP adapter advertises, and
    answers, the packets for those that are there.
    """

    @property
    def inferior(self) -> Inferior:
        """The facts."""

    def read_memory(self, address: int, length: int) -> bytes:
        """Return the readable bytes at `address`, as `AddressSpace.read` does."""

    @property
    def memory_map(self) -> MemoryMap | None:
        """What is mapped, for `qMemoryRegionInfo` and to search memory quickly."""

    @property
    def monitor(self) -> Monitor | None:
        """Commands about the dump, for `qRcmd`."""

    @property
    def physical(self) -> PhysicalMemory | None:
        """The switch to physical addresses, for `Qqemu.PhyMemMode`."""

    @property
    def thread_locals(self) -> ThreadLocals | None:
        """Where thread-local variables are, for `qGetTLSAddr`."""

    @property
    def symbol_questions(self) -> SymbolQuestions | None:
        """What the debugger is asked for, for `qSymbol`."""


class DebugTarget(Protocol):
    """A view that any number of clients may look at, each by a session of its own."""

    def open_session(self) -> DebugSession:
        """Return a fresh session; sessions may be used in different threads."""
