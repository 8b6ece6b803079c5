"""DebugSession: what one debugger connection can see; the RSP adapter knows no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.dump_facts import DumpFacts
from kdump_gdbserver.domain.threads import Thread, ThreadTable
from kdump_gdbserver.ports.memory_map import MemoryMap
from kdump_gdbserver.ports.monitor import Monitor
from kdump_gdbserver.ports.os_tables import OsTable
from kdump_gdbserver.ports.remote_files import RemoteFiles
from kdump_gdbserver.ports.thread_locals import ThreadLocals


class DebugSession(Protocol):
    """One inferior, as one client sees it.

    Optional parts are None where the view has none; the RSP adapter advertises the
    packets for those that are there.
    """

    @property
    def arch(self) -> Arch:
        """The architecture, for names, byte order and address width."""

    @property
    def layout(self) -> RegisterLayout:
        """The layout all threads' registers have."""

    @property
    def threads(self) -> ThreadTable:
        """All threads, in gdb's order."""

    @property
    def current(self) -> Thread:
        """The thread gdb shows first."""

    @property
    def text_segment(self) -> int | None:
        """Run-time address of the first PT_LOAD of the symbol file, for `qOffsets`."""

    @property
    def auxv(self) -> bytes | None:
        """The auxiliary vector as the kernel lays it out, for `qXfer:auxv`."""

    @property
    def exec_file(self) -> str | None:
        """Path of the process's executable on its machine, for `qXfer:exec-file`."""

    @property
    def thread_locals(self) -> ThreadLocals | None:
        """Where thread-local variables are, for `qGetTLSAddr` and `qSymbol`."""

    @property
    def files(self) -> RemoteFiles | None:
        """Files of the dumped machine, for `vFile`."""

    @property
    def load_offset(self) -> int | None:
        """What was added to every address of the symbol file, for LLDB; None if unknown."""

    @property
    def load_bases(self) -> Sequence[int]:
        """What to add to a load address of the symbol file to find it in memory, for `qCRC`."""

    @property
    def facts(self) -> DumpFacts | None:
        """What is known of the dump and its machine."""

    @property
    def monitor(self) -> Monitor | None:
        """Commands about the dump, for `qRcmd`."""

    @property
    def memory_map(self) -> MemoryMap | None:
        """What is mapped, for `qMemoryRegionInfo` and to search memory quickly."""

    @property
    def os_tables(self) -> Sequence[OsTable]:
        """Tables about the dumped system, for `qXfer:osdata`."""

    @property
    def physical_mode(self) -> bool:
        """Whether addresses are physical ones now; virtual ones at first."""

    def set_physical_mode(self, physical: bool) -> None:
        """Let addresses be physical or virtual from now on.

        Raises `InputError` when the view has no physical memory.
        """

    def read_memory(self, address: int, length: int) -> bytes:
        """Return the readable bytes at `address`, as `AddressSpace.read` does."""


class DebugTarget(Protocol):
    """A view that any number of clients may look at, each by a session of its own."""

    def open_session(self) -> DebugSession:
        """Return a fresh session; sessions may be used in different threads."""
