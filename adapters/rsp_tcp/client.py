"""What the server knows of one client: what it can take, and which thread it looks at."""

from __future__ import annotations

from dataclasses import dataclass, field

from kdump_gdbserver.adapters.rsp_tcp.encoding import (
    ALL,
    ANY,
    PacketError,
    parse_thread_id,
    plain_text,
)
from kdump_gdbserver.domain.threads import Thread
from kdump_gdbserver.ports.debug_session import DebugSession
from kdump_gdbserver.ports.remote_files import RemoteFile

# The longest packet either side may send, in bytes. gdb asks for half as many bytes
# of memory at a time; measured throughput is flat from 0x10000 up.
PACKET_SIZE = 0x20000


@dataclass(slots=True)
class Client:
    """The protocol state of one connection; packet handlers get it and change it."""

    session: DebugSession
    general_thread: Thread = field(init=False)
    multiprocess: bool = False
    error_messages: bool = False
    acknowledge: bool = True
    leaving: bool = False
    listed: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    open_files: dict[int, RemoteFile] = field(default_factory=dict)
    symbols_asked: int = 0

    def __post_init__(self) -> None:
        self.general_thread = self.session.current

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

    def error(self, text: str, code: int) -> bytes:
        """Return the error reply: words where the client takes them, else a number."""
        if self.error_messages:
            return b"E." + plain_text(text)
        return b"E%02x" % code
