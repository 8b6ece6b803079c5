"""The whole connection under any sequence of bytes: it answers by the rules, nothing else."""

from __future__ import annotations

import re

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kdump_gdbserver.adapters.rsp_tcp.connection import MAX_HELD, Connection
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.view import ViewSession
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import StrictLog, expanded, packet, sum_of
from tests.unit.rsp.test_rsp_connection import payloads

KERNEL = fake_kernel(possible=3, pids={2: 42}, panic_cpu=2)
VIEW = open_kernel_view(KERNEL.dump())
TEXT = KERNEL.symbols["_text"]
MEMORY = DumpMemory(KERNEL.dump()).kernel().read_exact(TEXT, 64)
# Every frame's sum is checked below.
FRAME = re.compile(rb"\$([^#$]*)#([0-9a-f]{2})", re.DOTALL)
commands = st.sampled_from(
    [b"help", b"info", b"stats", b"dmesg", b"vtop 0", b"log off", b"modes", b"\xff"]
).map(lambda text: b"qRcmd," + text.hex().encode())
# Framing characters would be taken for the packet's end.
plain = st.one_of(payloads, commands).map(lambda p: re.sub(rb"[#$}*\x03]", b"", p))


class Conversation(RuleBasedStateMachine):
    """A client that does anything at all, and looks now and then whether all is well."""

    @initialize()
    def connect(self) -> None:
        self.session: ViewSession = VIEW.open_session()
        log = StrictLog(structlog.wrap_logger(None, processors=[_drop]), False)
        self.connection = Connection(lambda: self.session, log)
        self.unfinished = False  # bytes of a packet that has not ended
        self.acknowledge = True

    def feed(self, data: bytes) -> bytes:
        out = self.connection.receive(data)
        self.check(out)
        return out

    def drain(self) -> bytes:
        out = b""
        for _ in range(10_000):
            if not self.connection.busy:
                return out
            part = self.connection.more()
            self.check(part)
            out += part
        raise AssertionError("there is no end to an answer")

    def check(self, out: bytes) -> None:
        rest = FRAME.sub(self.check_frame, out)
        assert not rest.strip(b"+-"), out
        assert len(out) < 2 * MAX_HELD

    def check_frame(self, match: re.Match[bytes]) -> bytes:
        assert sum_of(match[1]) == match[2]
        return b""

    @precondition(lambda self: not self.connection.closed)
    @rule(payload=plain, cut=st.integers(0, 40))
    def send_in_two_parts(self, payload: bytes, cut: int) -> None:
        data = packet(payload)
        self.feed(data[:cut])
        if not self.connection.closed:
            self.feed(data[cut:])
        self.unfinished = False

    @precondition(lambda self: not self.connection.closed)
    @rule(many=st.lists(plain, max_size=6))
    def send_ahead(self, many: list[bytes]) -> None:
        self.feed(b"".join(map(packet, many)))
        self.unfinished = False

    @precondition(lambda self: not self.connection.closed)
    @rule(data=st.sampled_from([b"+", b"-", b"\x03", b"--", b"+-\x03"]))
    def signal(self, data: bytes) -> None:
        self.feed(data)

    @precondition(lambda self: not self.connection.closed)
    @rule(data=st.binary(max_size=60))
    def garbage(self, data: bytes) -> None:
        self.feed(data)
        self.unfinished = True

    @precondition(lambda self: not self.connection.closed)
    @rule()
    def one_more(self) -> None:
        self.check(self.connection.more())

    @precondition(lambda self: not self.connection.closed)
    @rule(at=st.integers(0, 3), ahead=st.booleans())
    def read_on(self, at: int, ahead: bool) -> None:
        for page in range(at, at + 3):
            self.feed(packet(b"x%x,1000" % (TEXT + 0x1000 * page)))
            if ahead and not self.connection.closed:
                self.connection.work_ahead()
        self.unfinished = False

    @rule(within=st.booleans())
    def vanish_and_come_back(self, within: bool) -> None:
        if within and not self.connection.closed:
            self.feed(packet(b"m%x,40" % TEXT)[:-3])
        self.connect()

    @precondition(lambda self: not self.connection.closed)
    @rule()
    def all_is_well(self) -> None:
        """Whatever came before, memory is right, byte for byte."""
        self.feed(b"\x03")
        self.drain()
        if self.connection.closed:
            return
        if self.unfinished:
            # A packet that never ends, or whose checksum is still due, is ended by these.
            self.feed(b"#00#00")
            self.drain()
        if self.connection.closed:
            return
        self.feed(packet(b"Qqemu.PhyMemMode:0"))
        self.drain()
        frames = FRAME.findall(self.feed(packet(b"m%x,40" % TEXT)) + self.drain())
        assert [expanded(payload) for payload, _ in frames] == [MEMORY.hex().encode()]

    @invariant()
    def little_is_held(self) -> None:
        assert len(self.connection._waiting) < 1000
        assert len(self.connection._reader._buffer) <= 1 << 19


def _drop(logger: object, method: str, event: object) -> str:
    raise structlog.DropEvent


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestConversation = Conversation.TestCase
