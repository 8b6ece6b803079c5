"""Views made by hand, and a client that talks to them without a socket."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import structlog

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import escape, unescape
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import X86_64, Arch
from kdump_gdbserver.domain.placement import Placement
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import Thread, ThreadId, ThreadTable

# Acknowledgement, and one reply or none.
_ANSWER = re.compile(rb"(\+?)(?:\$([^#$]*)#([0-9a-f]{2}))?\Z", re.DOTALL)
# A part of the output of a monitor command, as LLDB gets it.
_OUTPUT = re.compile(rb"\$O((?:[0-9a-f]{2})*)#([0-9a-f]{2})")


class FakeFile:
    """A file in memory; implements `ports.remote_files.RemoteFile`."""

    def __init__(self, content: bytes, fails: bool = False) -> None:
        self.size = len(content)
        self.closed = False
        self._content = content
        self._fails = fails

    def read(self, offset: int, count: int) -> bytes:
        assert not self.closed
        if self._fails:
            raise OSError(5, "Input/output error")
        return self._content[offset : offset + count]

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class FakeFiles:
    """Files and links in memory; implements `ports.remote_files.RemoteFiles`."""

    def __init__(
        self, contents: Mapping[str, bytes], links: Mapping[str, str] | None = None
    ) -> None:
        self.opened: list[FakeFile] = []
        self.broken: set[str] = set()
        self._contents = contents
        self._links = links or {}

    def open(self, path: str) -> FakeFile | None:
        if path not in self._contents:
            return None
        self.opened.append(FakeFile(self._contents[path], path in self.broken))
        return self.opened[-1]

    def read_link(self, path: str) -> str | None:
        return self._links.get(path)


class FakeThreadLocals:
    """Thread-local variables at `base` + 0x1000 a thread; implements `ports.ThreadLocals`."""

    wanted: Sequence[str] = ("__libc_version", "_dl_tls")

    def __init__(self, memory: AddressSpace) -> None:
        self.told: dict[str, int | None] = {}

    def tell(self, name: str, address: int | None) -> str | None:
        self.told[name] = address
        return None

    def address(self, thread: Thread, offset: int, link_map: int) -> int:
        if link_map == 0xBAD:
            raise LookupError("module #0xbad has no $thread-local* block")
        return (link_map + 0x1000 * thread.id.tid + offset) & X86_64.pointer_mask


def thread_of(
    number: int,
    values: Mapping[str, int] | None = None,
    *,
    arch: Arch = X86_64,
    extra: str = "",
    name: str | None = None,
    core: int | None = None,
    siginfo: bytes | None = None,
) -> Thread:
    """Return thread 1.`number` with these registers (by default: a pc made of the number)."""
    known = {arch.pc: 0x1000 * number} if values is None else values
    return Thread(
        ThreadId(1, number),
        lambda: RegisterSet.from_values(arch.layout(), known),
        extra=extra or f"CPU #{number - 1}",
        name=name,
        core=core,
        siginfo=siginfo,
    )


def view_of(
    segments: Mapping[int, bytes] | None = None,
    threads: Sequence[Thread] = (),
    *,
    arch: Arch = X86_64,
    current: int = 0,
    text_segment: int | None = None,
    auxv: bytes | None = None,
    files: FakeFiles | None = None,
    exec_file: str | None = None,
    thread_locals: bool = False,
    addressing_bits: int | None = None,
) -> View:
    """Return a view of memory segments and threads (by default: one)."""
    table = ThreadTable(threads or [thread_of(1, arch=arch)])
    return View(
        arch=arch,
        layout=arch.layout(),
        threads=table,
        current=table[current],
        open_memory=lambda: SegmentedAddressSpace(dict(segments or {})),
        placement=Placement(first_segment=text_segment),
        auxv=auxv,
        files=files,
        exec_file=exec_file,
        addressing_bits=addressing_bits,
        open_thread_locals=FakeThreadLocals if thread_locals else None,
    )


def sum_of(payload: bytes) -> bytes:
    return b"%02x" % (sum(payload) % 256)


def packet(payload: bytes) -> bytes:
    """Wrap a payload as a client would, by other means than the code under test."""
    escaped = escape(payload)
    return b"$" + escaped + b"#" + sum_of(escaped)


def expanded(reply: bytes) -> bytes:
    """Undo run-length encoding: `X*N` is X and N - 29 more of it; binary data escapes `*`."""

    def repeat(match: re.Match[bytes]) -> bytes:
        count = match[2][0] - 29
        assert count >= 3
        assert match[2] not in b"#$+-"
        return match[1] * (count + 1)

    assert not re.search(rb"\*[^ -~]", reply)
    return re.sub(rb"(.)\*([ -~])", repeat, reply, flags=re.DOTALL)


class StrictLog(ExchangeLog):
    """A log that lets bugs out, which a connection would survive, so that tests see them."""

    def bug(self, request: bytes) -> None:
        raise  # noqa: PLE0704  # what the caller handles


class Debugger:
    """A client of a view; every answer is checked to be at most one well-formed frame."""

    def __init__(self, view: View, logger: object = None, log_exchanges: bool = False) -> None:
        log = StrictLog(logger or structlog.get_logger(), log_exchanges)
        self.connection = Connection(view.open_session, log)
        self.acknowledged = True
        self.printed = ""

    def ask(self, payload: bytes) -> bytes | None:
        """Return the reply to a packet, None when there is none."""
        expected_ack = b"+" if self.acknowledged else b""
        answer = self.connection.receive(packet(payload))
        while self.connection.busy:
            answer += self.connection.more()
        if payload.startswith(b"qRcmd"):
            answer = self._take_output(answer)
        match = _ANSWER.match(answer)
        assert match is not None, answer
        assert expected_ack == match[1]
        if match[2] is None:
            return None
        assert sum_of(match[2]) == match[3]
        if self.acknowledged and not self.connection.closed:
            assert self.connection.receive(b"+") == b""
        return expanded(match[2])

    def _take_output(self, answer: bytes) -> bytes:
        """Move a monitor command's output from an answer to `printed`."""
        self.printed = ""

        def take(match: re.Match[bytes]) -> bytes:
            assert sum_of(b"O" + match[1]) == match[2]
            self.printed += bytes.fromhex(match[1].decode()).decode()
            return b""

        return _OUTPUT.sub(take, answer)

    def monitor(self, command: str) -> str:
        """Return what a monitor command prints."""
        reply = self.ask(b"qRcmd," + command.encode().hex().encode())
        assert reply is not None
        return self.printed if reply == b"OK" else bytes.fromhex(reply.decode()).decode()

    def data(self, payload: bytes) -> bytes:
        """Return the reply to a packet that has one, with binary data unescaped."""
        reply = self.ask(payload)
        assert reply is not None
        return unescape(reply)

    def start(self, *features: bytes) -> bytes:
        """Begin as gdb does, without acknowledgements; return the server's features."""
        reply = self.data(b"qSupported:" + b";".join(features))
        assert self.data(b"QStartNoAckMode") == b"OK"
        self.acknowledged = False
        return reply

    def object(self, name: bytes, annex: bytes = b"", chunk: int = 0x1000) -> bytes:
        """Read a whole `qXfer` object in slices."""
        whole = b""
        while True:
            reply = self.data(b"qXfer:%b:read:%b:%x,%x" % (name, annex, len(whole), chunk))
            assert reply[:1] in (b"m", b"l"), reply
            whole += reply[1:]
            if reply[:1] == b"l":
                return whole
            assert len(reply) > 1


GDB = (b"multiprocess+", b"swbreak+", b"qRelocInsn+", b"error-message+", b"xmlRegisters=i386")
