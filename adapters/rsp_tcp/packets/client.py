"""What the server knows of one client: what it can take, and which thread it looks at."""

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
from kdump_gdbserver.ports.debug_session import DebugSession
from kdump_gdbserver.ports.remote_files import RemoteFile

# The longest packet either side may send, in bytes; gdb asks for half as many bytes of
# memory at a time. For gdb itself any size from 0x10000 up is as good, but the server
# needs half the CPU time for each byte that it does with 0x20000: see docs/benchmarks.md.
PACKET_SIZE = 0x100000


@dataclass(slots=True)
class Client:
    """The protocol state of one connection; packet handlers get it and change it."""

    log: ExchangeLog
    session: DebugSession = field(init=False)
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
        """Take the session that packets are about; it is needed before the first of them."""
        self.session = session
        self.general_thread = session.current

    @property
    def pid(self) -> int:
        """The number of the one inferior."""
        return self.session.current.id.pid

    def find_thread(self, text: bytes) -> Thread:
        """Return the thread that a packet names; 0 and -1 stand for the selected one.

        Raises `PacketError` for a thread or inferior that is not there.
        """
        pid, tid = parse_thread_id(text)
        if pid not in (None, ANY, ALL, self.pid):
            raise PacketError(f"no inferior {pid}")
        if tid in (ANY, ALL):
            return self.general_thread
        thread = self.session.threads.by_tid(tid)
        if thread is None:
            raise PacketError(f"no thread {tid}")
        return thread

    def start_over(self) -> None:
        """Forget what the client did to the process it has left, and attach it anew."""
        self.attached = True
        self.general_thread = self.session.current
        self.listed = 0
        self.objects.clear()
        self.session.set_physical_mode(False)
        for file in self.open_files.values():
            file.close()
        self.open_files.clear()
