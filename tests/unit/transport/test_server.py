"""RspServer on real sockets: clients come and go, in turn and together."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from kdump_gdbserver.application.view import DeferredTarget, ViewSession
from kdump_gdbserver.domain.errors import InputError
from tests.support.refusals import refused
from tests.support.sessions import packet, thread_of, view_of
from tests.support.tcp import HOST, TIMEOUT, Served, TcpClient, serving

pytestmark = pytest.mark.usefixtures("quiet")

MEMORY = {0x1000: bytes(range(256)) * 256}


def server_of(log_exchanges: bool = False) -> RspServer:
    view = view_of(MEMORY, [thread_of(i, {"rip": i}) for i in range(1, 9)])
    return RspServer(DeferredTarget(lambda: view), structlog.get_logger(), log_exchanges)


def leave_by_kill(client: TcpClient) -> None:
    client.send(b"k")
    assert client.hung_up()


def leave_by_detach(client: TcpClient) -> None:
    assert client.ask(b"D") == b"OK"
    assert client.hung_up()


def leave_with_a_packet_half_sent(client: TcpClient) -> None:
    client.socket.sendall(b"$m1000,4")
    client.close()


def leave_without_reading(client: TcpClient) -> None:
    client.socket.sendall(packet(b"m1000,ffff") * 50)
    client.abort()


ways_to_leave = pytest.mark.parametrize(
    "leave",
    [leave_by_kill, leave_by_detach, TcpClient.close, TcpClient.abort,
     leave_with_a_packet_half_sent, leave_without_reading],
)  # fmt: skip


@ways_to_leave
def test_the_next_client_is_served_however_the_last_one_left(
    leave: Callable[[TcpClient], None],
) -> None:
    with serving(server_of()) as served:
        for _ in range(3):
            client = served.connect()
            assert client.ask(b"qC") == b"QC1"
            assert client.ask(b"Hg3") == b"OK"
            leave(client)
        assert served.thread.is_alive()
        assert served.connect().ask(b"qC") == b"QC1"  # a session of its own


@ways_to_leave
def test_once_ends_when_the_first_client_has_left(leave: Callable[[TcpClient], None]) -> None:
    with serving(server_of(), once=True) as served:
        client = served.connect()
        assert client.ask(b"qC") == b"QC1"
        with pytest.raises(ConnectionRefusedError):
            served.connect()
        assert served.thread.is_alive()
        leave(client)
        assert served.ended()


def test_once_takes_nobody_else_from_before_the_client_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def start_slowly(thread: threading.Thread) -> None:
        """Let the client be served long before the server goes on."""
        start(thread)
        time.sleep(0.2)

    with serving(server_of(), once=True) as served:
        monkeypatch.setattr(threading.Thread, "start", start_slowly)
        client = served.connect()
        assert client.ask(b"qC") == b"QC1"
        with pytest.raises(ConnectionRefusedError):
            served.connect()


def test_clients_at_the_same_time_do_not_disturb_each_other() -> None:
    wrong: list[object] = []

    def work(served: Served, number: int) -> None:
        client = served.connect()
        client.ask(b"Hg%x" % number)
        for i in range(25):
            address = 0x1000 + 97 * i + number
            expected = MEMORY[0x1000][address - 0x1000 :][:64].hex().encode()
            if client.ask(b"m%x,40" % address) != expected:
                wrong.append((number, address))
            if client.ask(b"qC") != b"QC%x" % number:
                wrong.append(number)
        client.send(b"k")

    with serving(server_of()) as served:
        workers = [threading.Thread(target=work, args=(served, n)) for n in range(1, 9)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(TIMEOUT)
    assert wrong == []
    assert not [worker for worker in workers if worker.is_alive()]


def test_a_client_that_says_nothing_keeps_nobody_waiting() -> None:
    with serving(server_of()) as served:
        silent = [served.connect() for _ in range(3)]
        assert served.connect().ask(b"qC") == b"QC1"
        assert silent[1].ask(b"qC") == b"QC1"


def test_stopping_hangs_up_on_clients() -> None:
    server = server_of()
    with serving(server) as served:
        client = served.connect()
        assert client.ask(b"qC") == b"QC1"
        server.stop()
        assert served.ended()
        assert client.hung_up()


def test_a_client_that_comes_while_the_server_stops_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = server_of()
    start = threading.Thread.start

    def stop_and_start(thread: threading.Thread) -> None:
        """Stop the server between taking a client and serving it."""
        if "_serve_socket" in thread.name:
            server.stop()
        start(thread)

    with serving(server) as served:
        monkeypatch.setattr(threading.Thread, "start", stop_and_start)
        assert served.connect().hung_up()


def test_a_view_is_opened_for_the_first_client_and_once_for_all() -> None:
    opened: list[int] = []

    def open_view() -> Any:
        opened.append(1)
        return view_of()

    target = DeferredTarget(open_view)
    with serving(RspServer(target, structlog.get_logger())) as served:
        assert opened == []
        clients = [served.connect() for _ in range(5)]
        assert [client.ask(b"qC") for client in clients] == [b"QC1"] * 5
    assert opened == [1]


def test_comings_and_goings_are_logged_with_the_clients_address() -> None:
    with capture_logs() as entries, serving(server_of(log_exchanges=True)) as served:
        client = served.connect()
        name = client.name
        client.ask(b"qC")
        leave_by_kill(client)
    # A client of an earlier test may still be taking its leave.
    ours = [entry for entry in entries if entry["client"] == name]
    assert [entry["event"] for entry in ours[:3]] == ["client connected", "rsp", "rsp"]
    assert ours[1]["reply"] == "QC1"


class Broken:
    """A target whose first session fails in some way."""

    def __init__(self, error: Exception) -> None:
        self._errors = [error]

    def open_session(self) -> ViewSession:
        if self._errors:
            raise self._errors.pop()
        return view_of().open_session()


def hung_up_on(client: TcpClient) -> bool:
    """Whether the server closes the connection at the first packet, which opens the session."""
    client.send(b"qC")
    return client.hung_up()


def test_a_bug_of_ours_costs_one_client_and_is_logged_with_its_trace() -> None:
    server = RspServer(Broken(RuntimeError("boom")), structlog.get_logger())
    with capture_logs() as entries, serving(server) as served:
        assert hung_up_on(served.connect())
        assert served.connect().ask(b"qC") == b"QC1"
    (error,) = [entry for entry in entries if entry["log_level"] == "error"]
    assert error["event"] == "internal error; this client is dropped"
    assert error["exc_info"]


def test_a_view_that_cannot_be_shown_is_an_error_of_one_line() -> None:
    target = Broken(InputError("tasks.json: is of another dump; save it anew"))
    with capture_logs() as entries, serving(RspServer(target, structlog.get_logger())) as served:
        assert hung_up_on(served.connect())
        assert served.connect().ask(b"qC") == b"QC1"
    (error,) = [entry for entry in entries if entry["log_level"] == "error"]
    assert error["reason"] == "tasks.json: is of another dump; save it anew"
    assert "exc_info" not in error


class Exhausted(RspServer):
    """A server whose listener fails a few times before it has a client."""

    times = 1

    def listen(self, host: str, port: int) -> int:
        number = super().listen(host, port)
        errors = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError(103, "gone")]
        errors *= self.times
        self._listeners = [ListenerThatFails(self._listeners[0], errors)]  # type: ignore[list-item]
        return number


class ListenerThatFails:
    """Wraps a listening socket, whose methods cannot be replaced."""

    def __init__(self, listener: Any, errors: list[OSError]) -> None:
        self._listener = listener
        self._errors = errors

    def accept(self) -> Any:
        if self._errors:
            raise self._errors.pop(0)
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def test_running_out_of_descriptors_does_not_end_the_server() -> None:
    view = view_of()
    with capture_logs() as entries:
        server = Exhausted(DeferredTarget(lambda: view), structlog.get_logger())
        with serving(server) as served:
            assert served.connect().ask(b"qC") == b"QC1"
    assert [entry["reason"] for entry in entries if entry["event"] == "cannot take a client"] == [
        "Too many open files",
        "gone",
    ]


def test_running_out_of_descriptors_is_said_once_for_a_while() -> None:
    view = view_of()
    with capture_logs() as entries:
        server = Exhausted(DeferredTarget(lambda: view), structlog.get_logger())
        server.times = 5
        with serving(server) as served:
            assert served.connect().ask(b"qC") == b"QC1"
    told = [entry["reason"] for entry in entries if entry["event"] == "cannot take a client"]
    assert told == ["Too many open files", "gone"]


def test_a_listener_that_is_broken_for_good_ends_the_server() -> None:
    server = Exhausted(Broken(RuntimeError()), structlog.get_logger())
    port = server.listen(HOST, 0)
    server._listeners[0]._errors = [OSError(errno.EBADF, "Bad file descriptor")]  # type: ignore[attr-defined]
    client = TcpClient(port)
    with pytest.raises(OSError, match="Bad file descriptor"):
        server.serve()
    client.close()
    server.stop()


def test_a_port_in_use_is_named_and_the_way_out_shown() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        message = refused(server_of().listen, HOST, port)
    assert message.startswith(f"cannot listen on {HOST} port {port}: Address already in use")
    assert "--port 0" in message


@pytest.mark.parametrize(("host", "port"), [("x" * 70, 0), ("192.0.2.1", 0)])
def test_an_address_that_cannot_be_had_is_refused(host: str, port: int) -> None:
    assert f"cannot listen on {host} port {port}: " in refused(server_of().listen, host, port)


def test_serving_needs_listening() -> None:
    with pytest.raises(RuntimeError, match="listen"):
        server_of().serve()


def test_a_server_can_be_stopped_before_it_serves() -> None:
    server = server_of()
    server.listen(HOST, 0)
    server.stop()
    server.serve()


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6_clients_are_served() -> None:
    server = server_of()
    try:
        port = server.listen("::1", 0)
    except InputError:
        pytest.skip("this machine has no IPv6 loopback address (::1)")
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    with socket.create_connection(("::1", port), TIMEOUT) as client:
        client.sendall(packet(b"qC"))
        answer = b""
        while len(answer) < len(b"+$QC1#c5"):
            answer += client.recv(100)
        assert answer == b"+$QC1#c5"
    server.stop()
    thread.join(TIMEOUT)
