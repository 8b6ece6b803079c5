"""DebugSession: what one debugger connection can see; the RSP adapter knows no more."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.threads import Thread, ThreadTable
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

    def read_memory(self, address: int, length: int) -> bytes:
        """Return the readable bytes at `address`, as `AddressSpace.read` does."""


class DebugTarget(Protocol):
    """A view that any number of clients may look at, each by a session of its own."""

    def open_session(self) -> DebugSession:
        """Return a fresh session; sessions may be used in different threads."""
