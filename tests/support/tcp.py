"""A served view on the loopback interface, and a client on a real socket."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from tests.support.sessions import packet

# Seconds; for a test to fail instead of hanging, however busy the machine is.
TIMEOUT = 60.0
HOST = "127.0.0.1"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for `condition` to be true; fail, naming `what` was waited for, when it never is."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT:g} s for {what}"
        time.sleep(0.01)


class TcpClient:
    """A client that speaks RSP in ack mode over a socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = "{}:{}".format(*self.socket.getsockname())  # in the server's log
        self._received = b""

    def send(self, payload: bytes) -> None:
        self.socket.sendall(packet(payload))

    def receive(self) -> bytes:
        """Return the next reply's payload; `EOFError` when the server has hung up."""
        data = self._received
        while b"#" not in data or len(data) < data.index(b"#") + 3:
            part = self.socket.recv(0x10000)
            if not part:
                raise EOFError(data)
            data += part
        end = data.index(b"#")
        self._received = data[end + 3 :]
        self.socket.sendall(b"+")
        return data[data.index(b"$") + 1 : end]

    def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        return self.receive()

    def hung_up(self) -> bool:
        """Whether the server closes the connection, now or within the timeout."""
        try:
            while self.socket.recv(0x1000):
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()

    def abort(self) -> None:
        """Close with a reset, as a client that crashed would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Served:
    """A server that runs in a thread, and the clients it has."""

    def __init__(self, server: RspServer, once: bool) -> None:
        self._server = server
        self.keep_alive = server._keep_alive
        self.port = server.listen(HOST, 0)
        self.thread = threading.Thread(target=server.serve, kwargs={"once": once}, daemon=True)
        self.thread.start()
        self._clients: list[TcpClient] = []

    def connect(self) -> TcpClient:
        client = TcpClient(self.port)
        self._clients.append(client)
        return client

    def ended(self) -> bool:
        """Whether the server ends, now or within the timeout."""
        self.thread.join(TIMEOUT)
        return not self.thread.is_alive()

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()

    def clients_ended(self) -> bool:
        """Whether all clients' threads end, so that none is left to log in the next test."""
        for thread in list(self._server._threads):
            thread.join(TIMEOUT)
        return not any(thread.is_alive() for thread in list(self._server._threads))


@contextlib.contextmanager
def serving(server: RspServer, once: bool = False) -> Iterator[Served]:
    """Serve on a free port in the background."""
    served = Served(server, once)
    try:
        yield served
    finally:
        served.close_clients()
        server.stop()
        assert served.ended()
        assert served.clients_ended()
