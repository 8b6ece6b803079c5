"""Clients that are many, slow, silent, greedy or gone: nobody else notices, nothing grows."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import structlog

from kdump_gdbserver.adapters.rsp_tcp import rendering
from kdump_gdbserver.adapters.rsp_tcp.connection import MAX_BYTES_WAITING, MAX_HELD, MAX_WAITING
from kdump_gdbserver.adapters.rsp_tcp.packets import search as search_packets
from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE
from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from kdump_gdbserver.application.view import DeferredTarget
from kdump_gdbserver.ports.monitor import MonitorCommand
from tests.support.sessions import GDB, Debugger, FakeFile, FakeFiles, packet, thread_of, view_of
from tests.support.tcp import TIMEOUT, Served, TcpClient, serving, wait_until

MEMORY = {0x1000: bytes(range(256)) * 1024}
CLIENTS = 50


pytestmark = pytest.mark.usefixtures("quiet")


def server_of() -> RspServer:
    threads = [thread_of(i, {"rip": 0x1000 * i}) for i in range(1, CLIENTS + 1)]
    view = view_of(MEMORY, threads)
    return RspServer(DeferredTarget(lambda: view), structlog.get_logger())


def visit(served: Served, number: int, rounds: int, wrong: list[object]) -> None:
    """Ask for what is this client's alone: its thread, its acknowledgements, its memory."""
    client = served.connect()
    if client.ask(b"Hg%x" % number) != b"OK":
        wrong.append(number)
    for i in range(rounds):
        address = 0x1000 + 131 * i + 977 * number
        expected = MEMORY[0x1000][address - 0x1000 :][:64].hex().encode()
        for ask, answer in ((b"m%x,40" % address, expected), (b"qC", b"QC%x" % number)):
            got = client.ask(ask)
            if got != answer:
                wrong.append((number, ask, got))
    client.send(b"k")


def test_fifty_clients_at_once_each_get_what_is_theirs() -> None:
    wrong: list[object] = []
    with serving(server_of()) as served:
        workers = [
            threading.Thread(target=visit, args=(served, number, 20, wrong), daemon=True)
            for number in range(1, CLIENTS + 1)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(TIMEOUT)
    assert wrong == []
    assert not any(worker.is_alive() for worker in workers)


def test_slow_silent_and_greedy_clients_hold_nobody_up() -> None:
    """Some say nothing, some stop within a packet, some ask for much and take nothing."""
    with serving(server_of()) as served:
        for _ in range(5):
            served.connect()
            served.connect().socket.sendall(b"$m1000,")
            served.connect().socket.sendall(packet(b"m1000,10000") * 500)
        wrong: list[object] = []
        visit(served, 7, 50, wrong)  # each answer within the client's timeout
        assert wrong == []


def test_a_client_that_trickles_bytes_is_answered() -> None:
    with serving(server_of()) as served:
        client = served.connect()
        for byte in packet(b"qC"):
            client.socket.sendall(bytes((byte,)))
            time.sleep(0.005)
        assert client.receive() == b"QC1"


ONE_REPLY = 2 * PACKET_SIZE + 16


@pytest.mark.parametrize("flood", [packet(b"m1000,10000"), b"-"], ids=["requests", "nacks"])
def test_answers_do_not_pile_up_in_the_server(flood: bytes) -> None:
    debugger = Debugger(view_of(MEMORY))
    debugger.data(b"m1000,10000")
    tracemalloc.start()
    try:
        first = debugger.connection.receive(flood * (0x10000 // len(flood)))
        assert debugger.connection.busy
        assert len(first) <= MAX_HELD + ONE_REPLY
        for _ in range(20):
            assert len(debugger.connection.more()) <= MAX_HELD + ONE_REPLY
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_every_packet_of_a_flood_is_answered_in_order() -> None:
    debugger = Debugger(view_of(MEMORY))
    debugger.start(*GDB)
    asked = [b"m%x,8000" % (0x1000 + i) for i in range(40)]
    answer = debugger.connection.receive(b"".join(map(packet, asked)) + packet(b"qC"))
    while debugger.connection.busy:
        answer += debugger.connection.more()
    other = Debugger(view_of(MEMORY))
    other.start(*GDB)
    expected = [other.connection.receive(packet(each)) for each in [*asked, b"qC"]]
    assert answer == b"".join(expected)


NEVER_FOUND = b"qSearch:memory:0;ffffffffffffffff;needle"
ENDLESS = packet(NEVER_FOUND)


def test_a_search_where_nothing_is_known_of_holes_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_packets, "MAX_PAGES_MISSED", 1000)
    debugger = Debugger(view_of({0x10000: b"hay" * 1000}))
    debugger.start(*GDB)
    reply = debugger.data(NEVER_FOUND)
    assert reply.startswith(b"E.search given up at 0x3")
    assert debugger.data(b"qSearch:memory:0;ffffffffffffffff;hayhay") == b"1,10000"
    assert debugger.data(b"qC") == b"QCp1.1"


def test_the_stated_bound_of_a_search_takes_seconds_not_years() -> None:
    assert search_packets.MAX_PAGES_MISSED * 4096 == 4 << 30


def test_an_interrupt_ends_a_search_and_what_came_behind_is_answered() -> None:
    debugger = Debugger(view_of())
    debugger.start(*GDB)
    assert debugger.connection.receive(ENDLESS) == b""
    assert debugger.connection.busy
    assert debugger.connection.more() == b""
    assert debugger.connection.receive(packet(b"qC")) == b""
    assert debugger.connection.receive(b"\x03") == b""
    answer = b""
    while debugger.connection.busy:
        answer += debugger.connection.more()
    assert answer == packet(b"E.interrupted") + packet(b"QCp1.1")


@pytest.mark.parametrize(
    "asked", [b"qSearch:memory:0;1000000;needle", b"qCRC:0,800000", b"qRcmd,68656c70"]
)
@pytest.mark.parametrize("lldb", [False, True])
def test_an_interrupt_that_comes_after_the_answer_brings_no_second_one(
    asked: bytes, lldb: bool
) -> None:
    """It crossed the answer: the client would take what it brings for its next packet's."""
    debugger = Debugger(view_of({0: bytes(8 << 20) + b"needle"}))
    debugger.start(*GDB)
    if lldb:
        debugger.data(b"QThreadSuffixSupported")
    connection = debugger.connection
    answer = connection.receive(packet(asked))
    while not answer.rpartition(b"$")[2].startswith((b"1,", b"C", b"OK", b"20")):
        assert connection.busy
        answer += connection.more()
    assert connection.receive(b"\x03") == b""
    while connection.busy:
        assert connection.more() == b""
    assert connection.receive(packet(b"qC")) == packet(b"QCp1.1")


def test_an_interrupt_right_behind_a_search_ends_it_too() -> None:
    debugger = Debugger(view_of())
    debugger.start(*GDB)
    answer = debugger.connection.receive(ENDLESS + packet(b"qC") + b"\x03")
    while debugger.connection.busy:
        answer += debugger.connection.more()
    assert answer == packet(b"E.interrupted") + packet(b"QCp1.1")


def test_a_checksum_of_much_memory_can_be_interrupted() -> None:
    debugger = Debugger(view_of({0: bytes(8 << 20)}))
    assert debugger.connection.receive(packet(b"qCRC:0,800000")) == b"+"
    assert debugger.connection.receive(b"\x03") == b""
    assert debugger.connection.more() == packet(b"E04")


def test_packets_sent_ahead_of_a_long_answer_are_bounded() -> None:
    debugger = Debugger(view_of())
    debugger.connection.receive(ENDLESS)
    assert not debugger.connection.crowded
    debugger.connection.receive(packet(b"qC") * MAX_WAITING)
    assert debugger.connection.crowded


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches do not give up."""
    monkeypatch.setattr(search_packets, "MAX_PAGES_MISSED", 1 << 64)


def test_few_but_long_packets_sent_ahead_are_bounded_too() -> None:
    debugger = Debugger(view_of())
    debugger.connection.receive(ENDLESS)
    debugger.connection.receive(packet(b"q" * (MAX_BYTES_WAITING - 1)))
    assert not debugger.connection.crowded
    debugger.connection.receive(packet(b"qC"))
    assert debugger.connection.crowded


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("ahead", [0, 5 * MAX_WAITING], ids=["alone", "with packets ahead"])
@pytest.mark.parametrize("leave", [TcpClient.close, TcpClient.abort])
def test_a_client_that_leaves_ends_its_search(
    leave: Callable[[TcpClient], None], ahead: int
) -> None:
    with serving(server_of(), once=True) as served:
        client = served.connect()
        client.socket.sendall(ENDLESS + packet(b"m1000,1000") * ahead)
        assert set(client.socket.recv(100)) == set(b"+")  # signs of life among them, maybe
        assert served.thread.is_alive()
        leave(client)
        assert served.ended()


class Talker:
    """Prints for ever; implements `ports.monitor.Monitor`."""

    @property
    def commands(self) -> Sequence[MonitorCommand]:
        return [MonitorCommand("talk", "", "for ever", self.talk)]

    def talk(self, arguments: Sequence[str]) -> Iterator[str]:
        while True:
            yield "and" * 30


TALK = b"qRcmd," + b"talk".hex().encode()


class SlowFiles(FakeFiles):
    """Has a file that takes half a second to make."""

    def open(self, path: str) -> FakeFile | None:
        return SlowFile(b"slow")


class SlowFile(FakeFile):
    def prepare(self) -> Iterator[None]:
        for _ in range(50):
            time.sleep(0.01)
            yield


def test_a_client_that_has_closed_its_end_alone_gets_a_long_answer() -> None:
    view = view_of(MEMORY, files=SlowFiles({}))
    with serving(RspServer(DeferredTarget(lambda: view), structlog.get_logger())) as served:
        client = served.connect()
        client.socket.sendall(packet(b"vFile:open:" + b"/slow".hex().encode() + b",0,0"))
        client.socket.shutdown(socket.SHUT_WR)
        received = b""
        while some := client.socket.recv(0x1000):
            received += some
        assert received.endswith(packet(b"F3"))


class EndlessFile(FakeFile):
    """A file that is never made."""

    steps = 0

    def prepare(self) -> Iterator[None]:
        while True:
            EndlessFile.steps += 1
            yield


class EndlessFiles(FakeFiles):
    def open(self, path: str) -> FakeFile | None:
        return EndlessFile(b"")


def test_a_file_that_takes_for_ever_to_make_can_be_interrupted_and_left() -> None:
    view = view_of(MEMORY, files=EndlessFiles({}))
    with serving(RspServer(DeferredTarget(lambda: view), structlog.get_logger())) as served:
        client = served.connect()
        ask = packet(b"vFile:open:" + b"/proc/1/smaps".hex().encode() + b",0,0")
        client.socket.sendall(ask)
        wait_until(lambda: EndlessFile.steps > 0, "the work has begun")
        client.socket.sendall(b"\x03")
        received = b""
        while packet(b"E04") not in received:
            received += client.socket.recv(0x1000)
        assert client.ask(b"m1000,2") == b"0001"
        client.socket.sendall(ask)
        client.close()
        time.sleep(1)  # nothing runs for longer when its client has left
        steps = EndlessFile.steps
        time.sleep(0.2)
        assert EndlessFile.steps == steps


@pytest.mark.parametrize("lldb", [False, True], ids=["one packet", "many packets"])
def test_output_without_end_can_be_interrupted_and_left(
    monkeypatch: pytest.MonkeyPatch, lldb: bool
) -> None:
    monkeypatch.setattr(rendering, "MAX_OUTPUT", 1 << 40)
    view = view_of(MEMORY)

    class Target:
        def open_session(self) -> Any:
            session = view.open_session()
            session.monitor = Talker()
            return session

    with serving(RspServer(Target(), structlog.get_logger()), once=True) as served:
        client = served.connect()
        if lldb:
            assert client.ask(b"QThreadSuffixSupported") == b"OK"
        for quickly in (False, True):
            client.socket.sendall(packet(TALK) + (b"\x03" if quickly else b""))
            received = b""
            if not quickly:
                while lldb and received.count(b"$") <= 10:
                    received += client.socket.recv(0x1000)
                client.socket.sendall(b"\x03")
            while packet(b"E04") not in received:
                received += client.socket.recv(0x10000)
                assert len(received) < 1 << 26, "the interrupt was lost"
            assert (received.count(b"$") > 10) == (lldb and not quickly)
        assert client.ask(b"m1000,2") == b"0001"
        client.send(TALK)
        assert client.socket.recv(1) == b"+"
        client.close()
        assert served.ended()


@pytest.mark.usefixtures("endless")
def test_a_search_holds_nobody_else_up() -> None:
    with serving(server_of()) as served:
        client = served.connect()
        client.socket.sendall(ENDLESS)
        assert set(client.socket.recv(100)) == set(b"+")
        wrong: list[object] = []
        visit(served, 3, 20, wrong)
        assert wrong == []
