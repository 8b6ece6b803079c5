"""Answers that are long in coming: no client loses step with its answers, by whatever it does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp import keep_alive
from kdump_gdbserver.adapters.rsp_tcp.server import RspServer
from tests.support.sessions import packet, sum_of, view_of
from tests.support.tcp import TIMEOUT, Served, TcpClient, serving

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


def received_within(client: TcpClient, seconds: float) -> bytes:
    """Return all that comes in this time, which has to pass."""
    data = b""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        client.socket.settimeout(left)
        try:
            data += client.socket.recv(0x10000)
        except TimeoutError:
            break
    client.socket.settimeout(TIMEOUT)
    return data


def test_a_client_that_waits_hears_that_the_server_lives_and_then_its_answer(
    served: Served, target: Target
) -> None:
    client = served.connect()
    start_without_acks(client)
    client.send(b"m0,2")
    assert target.waiting.wait(TIMEOUT)
    signs = received_within(client, 0.3)
    assert set(signs) == set(b"+")
    assert 2 <= len(signs) <= 16
    target.go.set()
    rest = received_within(client, 0.2)
    assert rest.lstrip(b"+") == packet(b"0001")


@pytest.mark.parametrize("asked", [b"", b"$m0,"], ids=["nothing", "half a packet"])
def test_a_client_that_waits_for_nothing_hears_nothing(served: Served, asked: bytes) -> None:
    client = served.connect()
    start_without_acks(client)
    client.socket.sendall(asked)
    assert received_within(client, 0.2) in (b"", b"+")  # the + is for the half that came first


def test_lldb_would_take_a_sign_of_life_for_its_answer_and_gets_none(
    served: Served, target: Target
) -> None:
    client = served.connect()
    start_without_acks(client)
    assert client.ask(b"QThreadSuffixSupported") == b"OK"
    client.send(b"m0,2")
    assert target.waiting.wait(TIMEOUT)
    assert received_within(client, 0.2) == b""


def test_signs_of_life_never_get_into_a_packet(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes its answers slowly, while signs are due all the time."""
    client = served.connect()
    start_without_acks(client)
    client.socket.sendall(packet(b"m100,f000") * ROUNDS)
    data = b""
    while data.count(b"#") < ROUNDS or not re.search(rb"#..\Z", data):
        part = client.socket.recv(0x10000)
        assert part
        data += part
        time.sleep(0.001)
    answers = re.findall(rb"\$([^#$]*)#([0-9a-f]{2})", data)
    assert re.sub(rb"\$[^#$]*#[0-9a-f]{2}", b"", data).strip(b"+") == b""
    assert len(set(answers)) == 1
    assert sum_of(answers[0][0]) == answers[0][1]
    assert len(answers) == ROUNDS


def test_without_acknowledgements_a_nack_brings_no_second_answer(served: Served) -> None:
    """gdb sends one for each two seconds that it waits, in either mode."""
    client = served.connect()
    start_without_acks(client)
    for asked, answer in ((b"m10,1", b"10"), (b"m20,1", b"20"), (b"m30,1", b"30")):
        client.socket.sendall(b"-" + packet(asked) + b"-")
        assert client.receive() == answer
    assert received_within(client, 0.1).strip(b"+") == b""


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
    deadline = time.monotonic() + TIMEOUT
    while alive():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert served.connect().ask(b"qC") == b"QC1"
    assert alive()
