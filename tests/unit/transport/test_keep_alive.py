"""Answers that are long in coming: no client loses step with its answers, by whatever it does."""

from __future__ import annotations

import re
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp.transport import keep_alive
from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from tests.support.sessions import GDB, Debugger, packet, sum_of, view_of
from tests.support.tcp import TIMEOUT, Served, TcpClient, serving, wait_until

MEMORY = bytes(range(256)) * 256
ROUNDS = 60


class Target:
    """A view whose memory at 0 keeps its reader waiting until it is let go."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.go = threading.Event()

    def open_session(self) -> Any:
        session = view_of({0: MEMORY}).open_session()
        read = session.read_memory

        def slow(address: int, length: int) -> bytes:
            if address == 0:
                self.waiting.set()
                assert self.go.wait(TIMEOUT)
            return read(address, length)

        session.read_memory = slow
        return session


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def served(target: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(keep_alive, "INTERVAL", 0.02)
    with capture_logs(), serving(RspServer(target, structlog.get_logger())) as running:
        yield running
        target.go.set()


def start_without_acks(client: TcpClient) -> None:
    assert client.ask(b"QStartNoAckMode") == b"OK"


def is_silent(client: TcpClient, seconds: float = 0) -> bool:
    """Whether nothing comes in this time."""
    return not select.select([client.socket], [], [], seconds)[0]


def take_signs(client: TcpClient, count: int) -> None:
    """Receive so many signs of life, and nothing else."""
    for _ in range(count):
        assert client.socket.recv(1) == b"+"


def test_a_client_that_waits_hears_that_the_server_lives_and_then_its_answer(
    served: Served, target: Target
) -> None:
    client = served.connect()
    start_without_acks(client)
    began = time.monotonic()
    client.send(b"m0,2")
    take_signs(client, 5)
    assert time.monotonic() - began > 0.08  # they keep their distance
    target.go.set()
    assert client.receive() == b"0001"
    assert client.ask(b"m100,1") == b"00"


@pytest.mark.parametrize("asked", [b"", b"$m0,"], ids=["nothing", "half a packet"])
def test_a_client_that_waits_for_nothing_hears_nothing(served: Served, asked: bytes) -> None:
    client = served.connect()
    start_without_acks(client)
    client.socket.sendall(asked)
    ((channel, connection),) = served.keep_alive._watched.items()
    wait_until(
        lambda: connection._reader._buffer == asked and channel._turn > 2 and channel._listening,
        "the server to have heard it all",
    )
    while not is_silent(client):  # some may be for a server that was slow before that
        take_signs(client, 1)
    assert is_silent(client, 0.2)


def test_lldb_would_take_a_sign_of_life_for_its_answer_and_gets_none(
    served: Served, target: Target
) -> None:
    lldb, gdb = served.connect(), served.connect()
    start_without_acks(lldb)
    start_without_acks(gdb)
    assert lldb.ask(b"QThreadSuffixSupported") == b"OK"
    while not is_silent(lldb):  # some may be from before it was known
        take_signs(lldb, 1)
    lldb.send(b"m0,2")
    assert target.waiting.wait(TIMEOUT)
    gdb.send(b"m0,2")
    take_signs(gdb, 5)
    assert is_silent(lldb)


def test_signs_of_life_never_get_into_a_packet(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes its answers slowly, while signs are due all the time."""
    client = served.connect()
    start_without_acks(client)
    client.socket.sendall(packet(b"m100,f000") * ROUNDS)
    data = b""
    while data.count(b"#") < ROUNDS or len(data) < data.rindex(b"#") + 3:
        part = client.socket.recv(0x10000)
        assert part
        data += part
        time.sleep(0.001)
    answers = re.findall(rb"\$([^#$]*)#([0-9a-f]{2})", data)
    assert re.sub(rb"\$[^#$]*#[0-9a-f]{2}", b"", data).strip(b"+") == b""
    assert len(set(answers)) == 1
    assert sum_of(answers[0][0]) == answers[0][1]
    assert len(answers) == ROUNDS


GREETING = b"qSupported:" + b";".join(GDB)


def test_gdb_hears_that_the_server_lives_while_the_view_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others hear nothing, nor who has said nothing: an acknowledgement too many is LLDB's end."""
    monkeypatch.setattr(keep_alive, "INTERVAL", 0.02)
    opens = threading.Event()

    class SlowTarget:
        def open_session(self) -> Any:
            assert opens.wait(TIMEOUT)
            return view_of({0: MEMORY}).open_session()

    with capture_logs(), serving(RspServer(SlowTarget(), structlog.get_logger())) as served:
        lldb, mute, gdb = (served.connect() for _ in range(3))
        lldb.send(b"qSupported:xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+")
        gdb.send(GREETING)
        take_signs(gdb, 5)
        assert is_silent(lldb)
        assert is_silent(mute)
        opens.set()
        assert gdb.receive().startswith(b"PacketSize=")
        assert gdb.ask(b"qC") == b"QCp1.1"
        assert re.match(rb"\+?\+\$PacketSize=", lldb.socket.recv(0x1000))
        assert mute.ask(b"qC") == b"QC1"


def test_a_greeting_that_gdb_repeats_is_answered_once(served: Served) -> None:
    """It does so when it has waited for two seconds for it to be acknowledged."""
    receive = Debugger(view_of({0: MEMORY})).connection.receive
    first = receive(2 * packet(GREETING))
    assert first.count(b"$") == first.count(b"+$") == 1
    assert receive(packet(GREETING)) == b""
    assert receive(b"+" + packet(b"vMustReplyEmpty")) == b"+$#00"
    assert receive(b"+" + packet(GREETING)) == first


def test_without_acknowledgements_a_nack_brings_no_second_answer(served: Served) -> None:
    """gdb sends one for each two seconds that it waits, in either mode."""
    client = served.connect()
    start_without_acks(client)
    for asked, answer in ((b"m10,1", b"10"), (b"m20,1", b"20"), (b"m30,1", b"30")):
        client.socket.sendall(b"-" + packet(asked) + b"-")
        assert client.receive() == answer
    assert client.ask(b"m40,1") == b"40"


def test_a_client_that_has_given_an_answer_up_is_hung_up_on(served: Served) -> None:
    """After three of them gdb goes on, and would take each answer for the next question's."""
    with capture_logs() as entries:
        client = served.connect()
        start_without_acks(client)
        client.send(b"m10,1")
        assert client.receive() == b"10"
        client.socket.sendall(b"---")
        assert client.hung_up()
        assert served.connect().ask(b"qC") == b"QC1"
    assert "hung up" in " ".join(entry["event"] for entry in entries)


def test_the_thread_ends_when_no_client_is_left(served: Served) -> None:
    served.connect().ask(b"qC")

    def alive() -> bool:
        return any(thread.name == "keep-alive" for thread in threading.enumerate())

    assert alive()
    served.close_clients()
    wait_until(lambda: not alive(), "the thread to end")
    assert served.connect().ask(b"qC") == b"QC1"
    assert alive()
