"""What handlers return and raise, and what becomes of it: one reply to each packet, always."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.packets import dispatch
from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import MOST_BUGS, ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    NO_REPLY,
    OK,
    UNSUPPORTED,
    WORKING,
    Console,
    Data,
    Failed,
    Refused,
    Reply,
    Steps,
    Work,
    Working,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError
from kdump_gdbserver.application.view import ViewSession
from kdump_gdbserver.domain.errors import FaultReason, InputError, MemoryFault
from tests.support.sessions import GDB, packet, sum_of, view_of
from tests.support.strategies import splits

ASKED = b"qTest"
# What a handler may raise, and what a client that takes words, and one that does not, is told.
BUG = KeyError("a look-up of ours that fails")
ERRORS: list[tuple[Exception, bytes, bytes]] = [
    (PacketError("no such thing", 0x42), b"E.no such thing", b"E42"),
    (
        MemoryFault(0x10, FaultReason.EXCLUDED),
        b"E.cannot read memory at 0x10: page is not in the dump (filtered out or never saved)",
        b"E0e",
    ),
    (InputError("this view has none"), b"E.this view has none", b"E16"),
    (BUG, b"E.internal error; the server's log has the traceback", b"E05"),
]
NAMES = [type(error).__name__ for error, _, _ in ERRORS]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


class Asked:
    """A connection on which `qTest` is answered by a handler of the test's own."""

    def __init__(self, answer: Any, *, words: bool = True, lldb: bool = False) -> None:
        self.answer = answer
        self.connection = Connection(
            view_of({0: bytes(64)}).open_session, ExchangeLog(structlog.get_logger(), False)
        )
        greeting = b"qSupported:" + b";".join(GDB if words else GDB[:3])
        for payload in (greeting, b"QStartNoAckMode", *[b"QThreadSuffixSupported"] * lldb):
            assert self.connection.receive(packet(payload))

    def receive(self, data: bytes) -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(dispatch.BY_WORD, ASKED, lambda client, arguments: self.answer())
            return self.connection.receive(data)

    def ask(self) -> list[bytes]:
        """Return the payloads that answer `qTest`, to the end."""
        return self.rest(self.receive(packet(ASKED)))

    def rest(self, data: bytes) -> list[bytes]:
        for _ in range(1000):
            if not self.connection.busy:
                return payloads_of(data)
            data += self.connection.more()
        raise AssertionError("there is no end to an answer")

    def check_alive(self) -> None:
        assert payloads_of(self.connection.receive(packet(b"qC"))) == [b"QCp1.1"]


def payloads_of(data: bytes) -> list[bytes]:
    found = re.findall(rb"\$([^#$]*)#([0-9a-f]{2})", data)
    assert b"".join(b"$%b#%b" % pair for pair in found) == data
    assert all(sum_of(payload) == digits for payload, digits in found)
    return [payload for payload, _ in found]


def raising(error: Exception) -> Any:
    def answer() -> Reply:
        raise error

    return answer


def working(parts: list[Working | Console], end: Reply | Exception) -> Any:
    def steps() -> Steps:
        yield from parts
        if isinstance(end, Exception):
            raise end
        return end

    return lambda: Work(steps())


@pytest.mark.parametrize(
    ("reply", "for_gdb", "for_older_gdb", "for_lldb"),
    [
        (Data(b"1,2}\x03"), b"1,2}\x03", b"1,2}\x03", b"1,2}\x03"),
        (OK, b"OK", b"OK", b"OK"),
        (UNSUPPORTED, b"", b"", b""),
        (Failed("not $so", 0x42), b"E.not ?so", b"E42", b"E42"),
        (Refused("never"), b"E.never", b"E.never", b"E01"),
    ],
)
def test_each_reply_is_written_as_the_client_understands_it(
    reply: Reply, for_gdb: bytes, for_older_gdb: bytes, for_lldb: bytes
) -> None:
    assert Asked(lambda: reply).ask() == [for_gdb]
    assert Asked(lambda: reply, words=False).ask() == [for_older_gdb]
    assert Asked(lambda: reply, words=False, lldb=True).ask() == [for_lldb]
    assert Asked(working([WORKING] * 5, reply)).ask() == [for_gdb]


def test_no_reply_is_none_at_all() -> None:
    for answer in (lambda: NO_REPLY, working([WORKING] * 5, NO_REPLY)):
        asked = Asked(answer)
        assert asked.ask() == []
        asked.check_alive()


@pytest.mark.parametrize(("error", "words", "number"), ERRORS, ids=NAMES)
@pytest.mark.parametrize("steps", [None, 0, 1, 2, 3, 7])
def test_what_a_handler_raises_is_an_error_reply_in_a_call_and_at_any_step(
    error: Exception, words: bytes, number: bytes, steps: int | None
) -> None:
    answer = raising(error) if steps is None else working([WORKING] * steps, error)
    for takes_words, expected in ((True, words), (False, number)):
        asked = Asked(answer, words=takes_words)
        assert asked.ask() == [expected]
        asked.check_alive()


@pytest.mark.parametrize("answer", [raising(BUG), working([WORKING, Console("one\n")], BUG)])
def test_a_bug_is_logged_as_one_with_its_traceback(answer: Any, logged: list[Any]) -> None:
    asked = Asked(answer)
    for _ in range(MOST_BUGS + 5):
        assert len(asked.ask()) == 1
    first, *others = logged
    assert first["event"] == "internal error: this is a bug"
    assert first["log_level"] == "error"
    assert first["request"] == "qTest"
    assert first["exc_info"]
    # A client must not fill the disk by them.
    assert [each["event"] for each in others] == [first["event"]] * (MOST_BUGS - 1) + [
        "this client's further internal errors are not logged"
    ]


@pytest.mark.parametrize(("error", "words", "number"), ERRORS[:3], ids=NAMES[:3])
def test_what_is_no_bug_is_not_logged_as_one(
    error: Exception, words: bytes, number: bytes, logged: list[Any]
) -> None:
    assert Asked(raising(error)).ask() == Asked(working([], error)).ask() == [words]
    assert logged == []


def test_why_is_in_the_log_for_clients_that_get_a_number(logged: list[Any]) -> None:
    asked = Asked(working([WORKING] * 5, PacketError("no such thing")), words=False)
    asked.connection._log.enabled = True
    assert asked.ask() == [b"E16"]
    asked.check_alive()
    assert [(each["request"], each["reply"], each.get("error")) for each in logged] == [
        ("qTest", "E16", "no such thing"),
        ("qC", "QCp1.1", None),
    ]


def test_a_bug_while_reading_ahead_is_met_when_the_packet_comes() -> None:
    session = view_of({0: bytes(0x10000)}).open_session()
    read = session.read_memory

    def fails_behind(address: int, length: int) -> bytes:
        if address >= 0x2000:
            raise BUG
        return read(address, length)

    session.read_memory = fails_behind
    connection = Connection(lambda: session, ExchangeLog(structlog.get_logger(), False))
    connection.receive(packet(b"QStartNoAckMode"))
    for address in (0, 0x1000):
        assert connection.receive(packet(b"m%x,1000" % address))
        connection.work_ahead()
    assert payloads_of(connection.receive(packet(b"m2000,1000"))) == [b"E05"]
    assert payloads_of(connection.receive(packet(b"qC"))) == [b"QC1"]


parts = st.lists(
    st.one_of(st.just(WORKING), st.sampled_from(["", "a\n", "é\n" * 3000]).map(Console)),
    max_size=9,
)
ends = st.one_of(
    st.sampled_from([OK, UNSUPPORTED, Data(b"1"), Failed("no"), Refused("never")]),
    st.sampled_from([error for error, _, _ in ERRORS]),
)


def split_output(payloads: list[bytes], lldb: bool) -> tuple[bytes, list[bytes]]:
    """Return the text of `O` packets, which only LLDB gets, and the other payloads."""
    output = [each for each in payloads if each[:1] == b"O" and each != b"OK"]
    assert lldb or not output
    others = [each for each in payloads if each not in output]
    return b"".join(bytes.fromhex(each[1:].decode()) for each in output), others


@given(parts, ends, st.booleans(), st.booleans())
def test_work_gives_one_reply_wherever_it_ends_or_raises(
    done: list[Working | Console], end: Reply | Exception, words: bool, lldb: bool
) -> None:
    asked = Asked(working(done, end), words=words, lldb=lldb)
    output, replies = split_output(asked.ask(), lldb)
    assert len(replies) == 1
    text = "".join(each.text for each in done if isinstance(each, Console)).encode()
    if lldb:
        assert output == text
    elif end is OK:
        assert replies == [text.hex().encode() or b"OK"]
    asked.check_alive()


@given(parts, ends, st.booleans(), st.lists(st.integers(0, 12), max_size=3), st.booleans())
def test_an_interrupt_at_any_step_gives_one_reply(
    done: list[Working | Console],
    end: Reply | Exception,
    lldb: bool,
    at: list[int],
    right_behind: bool,
) -> None:
    closed = []

    def steps() -> Steps:
        try:
            yield from done
            if isinstance(end, Exception):
                raise end
            return end
        finally:
            closed.append(True)

    asked = Asked(lambda: Work(steps()), lldb=lldb)
    data = asked.receive(packet(ASKED) + b"\x03" * right_behind)
    for step in range(12):
        for _ in range(at.count(step)):
            assert asked.receive(b"\x03") == b""
        if asked.connection.busy:
            data += asked.connection.more()
    _, replies = split_output(asked.rest(data), lldb)
    assert len(replies) == 1
    assert closed == [True]
    assert asked.receive(b"\x03") == b""
    asked.check_alive()


def test_work_that_will_not_be_interrupted_is_a_bug_and_gives_one_reply(logged: list[Any]) -> None:
    def steps() -> Steps:
        while True:
            try:
                yield WORKING
            except GeneratorExit:
                yield WORKING

    asked = Asked(lambda: Work(steps()))
    asked.receive(packet(ASKED))
    asked.receive(b"\x03")
    assert asked.rest(b"") == [b"E.internal error; the server's log has the traceback"]
    assert len(logged) == 1
    asked.check_alive()


talk = st.lists(
    st.sampled_from(
        [b"qC", b"?", b"m0,10", b"m40,1", b"x0,8", b"g", b"Hgp1.1", b"vUnheardOf", b"R", b"c",
         b"qCRC:0,40", b"qCRC:0,80", b"qSearch:memory:0;1000000;needle", b"qRcmd,68656c70",
         b"qRcmd,zz", b"qTest", b"QThreadSuffixSupported", b"QStartNoAckMode", b"qSupported:a+"]
    ).map(packet)
    | st.sampled_from([b"+", b"-", b"$qC#00", b"junk"]),
    max_size=12,
)  # fmt: skip


@given(st.data(), parts, ends, talk, st.booleans())
def test_answers_do_not_depend_on_how_a_stream_is_cut_or_when_steps_are_done(
    data: st.DataObject,
    done: list[Working | Console],
    end: Reply | Exception,
    said: list[bytes],
    at_once: bool,
) -> None:
    def answer_to(cut: list[bytes], at_once: bool) -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            answer = working(done, end)
            patch.setitem(dispatch.BY_WORD, ASKED, lambda client, arguments: answer())
            log = ExchangeLog(structlog.get_logger(), False)
            connection = Connection(view_of({0: bytes(64)}).open_session, log)
            out = b""
            for part in cut:
                if connection.closed:
                    break
                out += connection.receive(part)
                while connection.busy and at_once:
                    out += connection.more()
            while connection.busy and not connection.closed:
                out += connection.more()
            return out

    stream = b"".join(said)
    cut = data.draw(splits(stream))
    assert answer_to(cut, at_once) == answer_to([stream], True)


class Opening:
    """A session that is opened by the first packet; what may be sent meanwhile is noted."""

    def __init__(self) -> None:
        self.signs: list[bytes] = []
        self.connection = Connection(self.open, ExchangeLog(structlog.get_logger(), False))

    def open(self) -> ViewSession:
        self.signs.append(self.connection.sign_of_life)
        return view_of().open_session()


@pytest.mark.parametrize(
    ("first", "sign"),
    [
        (b"qSupported:" + b";".join(GDB), b"+"),
        (b"qSupported:xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+", b""),
        (b"QStartNoAckMode", b""),
        (b"vUnheardOf:qRelocInsn+", b""),
    ],
)
def test_the_first_packet_tells_whether_signs_of_life_may_be_sent(
    first: bytes, sign: bytes
) -> None:
    opening = Opening()
    connection = opening.connection
    assert connection.sign_of_life == b""
    assert connection.receive(b"+\x03-") == b""
    assert opening.signs == []
    connection.receive(packet(first))
    assert opening.signs == [sign]
    assert connection.sign_of_life == b"+"
    connection.receive(packet(b"QListThreadsInStopReply"))
    assert connection.sign_of_life == b""
    assert len(opening.signs) == 1


def test_a_session_that_cannot_be_opened_is_for_the_caller_to_tell() -> None:
    def fails() -> ViewSession:
        raise InputError("tasks.json: is of another dump; save it anew")

    connection = Connection(fails, ExchangeLog(structlog.get_logger(), False))
    with pytest.raises(InputError, match="another dump"):
        connection.receive(packet(b"qC"))


def test_every_handler_returns_a_reply_or_work() -> None:
    client = Client(ExchangeLog(structlog.get_logger(), False))
    client.begin(view_of({0: bytes(64)}).open_session())
    kinds = (bytes, type(OK), type(UNSUPPORTED), type(NO_REPLY), Failed, Refused, Work)
    for handler in {*dispatch.BY_LETTER.values(), *dispatch.BY_WORD.values()}:
        try:
            answer = handler(client, b"0,0")
        except (PacketError, MemoryFault, InputError):
            continue
        assert isinstance(answer, kinds), handler
