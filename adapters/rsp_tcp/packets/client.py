"""Client: what the server knows about one client, such as its features and selected thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.packets.statistics import Statistics
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import (
    ALL,
    ANY,
    PacketError,
    parse_thread_id,
)
from kdump_gdbserver.domain.threads import Thread
from kdump_gdbserver.ports.debug_session import DebugSession, Inferior
from kdump_gdbserver.ports.remote_files import RemoteFile

# The longest packet that either side may send, in bytes; gdb reads half as much memory at a time.
# gdb is as fast with any size from 0x10000 up. The server needs half the CPU time per byte that it
# needs with 0x20000: see docs/benchmarks.md.
PACKET_SIZE = 0x100000


@dataclass(slots=True)
class Client:
    """The protocol state of one connection, which packet handlers read and change."""

    log: ExchangeLog
    session: DebugSession = field(init=False)
    inferior: Inferior = field(init=False)
    general_thread: Thread = field(init=False)
    multiprocess: bool = False
    error_messages: bool = False
    error_strings: bool = False  # LLDB's form of error messages
    lldb: bool = False
    threads_in_stop_reply: bool = False
    binary_memory: bool = False  # gdb's `x` was offered to the client
    bare_binary: bool = False  # LLDB's older `x` was asked for
    extended: bool = False
    attached: bool = True
    acknowledge: bool = True
    leaving: bool = False
    listed: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    open_files: dict[int, RemoteFile] = field(default_factory=dict)
    symbols_asked: int = 0
    statistics: Statistics = field(default_factory=Statistics)

    def begin(self, session: DebugSession) -> None:
        """Set the session. Handlers need it, so this comes before the first packet."""
        self.session = session
        self.inferior = session.inferior
        self.general_thread = session.inferior.current

    @property
    def pid(self) -> int:
        """The process id of the only inferior."""
        return self.inferior.current.id.pid

    def find_thread(self, text: bytes) -> Thread:
        """Return the thread that a packet names; 0 and -1 mean the selected one.

        Raises `PacketError` if there is no such thread or inferior.
        """
        pid, tid = parse_thread_id(text)
        if pid not in (None, ANY, ALL, self.pid):
            raise PacketError(f"no inferior {pid}")
        if tid in (ANY, ALL):
            return self.general_thread
        thread = self.inferior.threads.by_tid(tid)
        if thread is None:
            raise PacketError(f"no thread {tid}")
        return thread

    def start_over(self) -> None:
        """Attach the client to the process again, in its initial state."""
        self.attached = True
        self.general_thread = self.inferior.current
        self.listed = 0
        self.objects.clear()
        if self.session.physical is not None:
            self.session.physical.switch(False)
        for file in self.open_files.values():
            file.close()
        self.open_files.clear()
