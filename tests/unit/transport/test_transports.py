"""How clients get in: where each transport listens, what it refuses, how it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp.transport import tcp
from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from kdump_gdbserver.adapters.rsp_tcp.transport.systemd import inherited_listeners
from kdump_gdbserver.adapters.rsp_tcp.transport.tcp import beyond_loopback, listen_tcp
from kdump_gdbserver.adapters.rsp_tcp.transport.unix import UnixListener
from kdump_gdbserver.application.view import DeferredTarget
from kdump_gdbserver.domain.errors import InputError
from tests.support.refusals import refused
from tests.support.sessions import packet, view_of
from tests.support.tcp import HOST, TIMEOUT, Served, TcpClient, serving, wait_until

pytestmark = pytest.mark.usefixtures("quiet")


def server_of(idle_timeout: float | None = None) -> RspServer:
    view = view_of({0x1000: bytes(0x100000)})
    return RspServer(
        DeferredTarget(lambda: view), structlog.get_logger(), idle_timeout=idle_timeout
    )


def no_listener(path: Path | str) -> str:
    """Return why there is no listening at this path."""
    message = refused(UnixListener, str(path))
    assert "--unix" in message
    return message


def test_a_unix_socket_is_its_owners_alone_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0)
    try:
        listener = UnixListener(str(path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    listener.socket.close()
    listener.remove()
    assert not path.exists()
    listener.remove()


def test_a_stale_socket_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    UnixListener(str(path)).socket.close()  # as after kill -9
    assert path.exists()
    listener = UnixListener(str(path))
    assert "in use" in no_listener(path)
    listener.socket.close()
    listener.remove()


def test_a_socket_that_took_our_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = UnixListener(str(path))
    first.socket.close()
    second = UnixListener(str(path))
    first.remove()
    assert path.exists()
    second.socket.close()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear to somebody")
    assert "not a socket" in no_listener(path)
    assert path.read_text() == "dear to somebody"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert "not a socket" in no_listener(link)
    assert link.is_symlink()


@pytest.mark.parametrize("path", ["/nonexistent/s", "/tmp/" + "x" * 200, "a\0b"])
def test_a_path_that_cannot_be_had_is_refused(path: str) -> None:
    assert no_listener(path).startswith("cannot listen on ")


def test_a_unix_client_is_served_and_named_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = server_of()
    server.listen_unix(str(path))
    with capture_logs() as entries:
        thread = threading.Thread(target=server.serve, kwargs={"once": True}, daemon=True)
        thread.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(str(path))
            client.sendall(packet(b"qC"))
            assert client.recv(1) == b"+"
        thread.join(TIMEOUT)
    server.stop()
    assert not path.exists()
    assert {entry["client"] for entry in entries} == {f"pid {os.getpid()} of uid {os.getuid()}"}


def test_localhost_is_both_families_on_one_port() -> None:
    listeners = listen_tcp("localhost", 0)
    try:
        ports = {listener.getsockname()[1] for listener in listeners}
        assert len(ports) == 1
        assert listeners[0].getsockname()[0] == "127.0.0.1"
        if len(listeners) == 2:
            assert listeners[1].getsockname()[0] == "::1"
        assert beyond_loopback(listeners) is None
        with pytest.raises(InputError, match="in use"):
            listen_tcp("localhost", ports.pop())
    finally:
        for listener in listeners:
            listener.close()


def test_a_machine_without_ipv6_is_served_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "_LOOPBACK", (*tcp._LOOPBACK[:1], (socket.AF_INET6, "2001:db8::")))
    (listener,) = listen_tcp("localhost", 0)
    assert listener.family == socket.AF_INET
    listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_addresses_that_other_machines_reach_are_told(host: str) -> None:
    (listener,) = listen_tcp(host, 0)
    with listener:
        assert beyond_loopback([listener]) == "0.0.0.0"


AS_SYSTEMD = """
import os, socket, sys
from kdump_gdbserver.adapters.rsp_tcp.transport.systemd import inherited_listeners
from kdump_gdbserver.domain.errors import InputError
opened = socket.socket(socket.AF_INET, getattr(socket, sys.argv[1]))
opened.bind(("127.0.0.1", 0))
if sys.argv[2] == "listening":
    opened.listen()
name = opened.getsockname()
os.dup2(opened.detach(), 3)
environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "OTHER": "1"}
try:
    taken = inherited_listeners(environment)
except InputError as error:
    print(error)
else:
    print(len(taken), taken[0].getsockname() == name, *environment)
"""


@pytest.mark.parametrize(
    ("kind", "state", "said"),
    [
        ("SOCK_STREAM", "listening", "1 True OTHER\n"),
        ("SOCK_STREAM", "idle", "not a listening stream socket"),
        ("SOCK_DGRAM", "idle", "not a listening stream socket"),
    ],
)
def test_sockets_of_systemd_are_taken_and_others_refused(kind: str, state: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_SYSTEMD, kind, state],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert said in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "1"}]
)
def test_sockets_for_another_process_are_left_alone(environment: dict[str, str]) -> None:
    before = dict(environment)
    assert inherited_listeners(environment) == []
    assert environment == before


def stays_busy(served: Served, limit: float) -> bool:
    """Ask again and again, for three times the limit, and be answered.

    False where this thread was held up for longer than the limit, so that the server was right
    to take the client for idle; dropped otherwise, it fails the test.
    """
    asked = time.monotonic()
    client, end, longest = served.connect(), asked + 3 * limit, 0.0
    try:
        while time.monotonic() < end:
            before, asked = asked, time.monotonic()
            client.send(b"qC")
            longest = max(longest, time.monotonic() - before)
            assert client.receive() == b"QC1"
            time.sleep(limit / 10)
    except (OSError, EOFError):
        assert max(longest, time.monotonic() - asked) >= limit, "a busy client was dropped"
        return False
    return True


def test_idle_clients_are_dropped_only_if_asked_and_busy_ones_stay() -> None:
    for limit in (0.3, 1.0, 5.0, 20.0):  # the longer ones on a machine that is very busy
        with capture_logs() as entries, serving(server_of(idle_timeout=limit)) as served:
            idle = served.connect()
            if not stays_busy(served, limit):
                continue
            assert idle.hung_up()
        (reason,) = [e["reason"] for e in entries if dropped(e, idle)]
        assert reason == f"idle for {limit:g} seconds"
        return
    pytest.fail("this test was held up for 20 seconds")


def dropped(entry: Mapping[str, object], client: TcpClient) -> bool:
    """Whether it tells that this client was dropped."""
    return entry["event"] == "client dropped" and entry["client"] == client.name


def test_a_client_that_takes_no_answers_is_idle_too() -> None:
    with capture_logs() as entries, serving(server_of(idle_timeout=0.3)) as served:
        greedy = served.connect()
        greedy.socket.sendall(packet(b"m1000,ffff") * 1000)

        def another_is_answered() -> bool:
            with contextlib.suppress(OSError, EOFError):  # dropped: this thread was held up
                return served.connect().ask(b"qC") == b"QC1"
            return False

        wait_until(another_is_answered, "an answer to another client")
        wait_until(lambda: any(dropped(entry, greedy) for entry in entries), "the drop")


def test_stopping_wakes_a_server_that_waits_on_several_listeners(tmp_path: Path) -> None:
    server = server_of()
    server.listen_unix(str(tmp_path / "s"))
    server.listen(HOST, 0)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    server.stop()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert not (tmp_path / "s").exists()
