"""The server: accepts clients, each with its own thread and session."""

from __future__ import annotations

import contextlib
import errno
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kdump_gdbserver.adapters.rsp_tcp.transport.channel import Channel
from kdump_gdbserver.adapters.rsp_tcp.transport.keep_alive import KeepAlive
from kdump_gdbserver.adapters.rsp_tcp.transport.listeners import Listeners
from kdump_gdbserver.adapters.rsp_tcp.transport.stdio import STDIN, take_standard_output

if TYPE_CHECKING:
    from kdump_gdbserver.ports.debug_session import DebugTarget

# Errors of accept(2) that do not end the server, and when to try again.
_PASSING = frozenset((errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_RETRY_AFTER = 0.1  # seconds
_SAY_AGAIN_AFTER = 10  # seconds
# How long `stop` waits for clients' threads, in seconds; one may wait for a stalled disk.
_PATIENCE = 1.0
_LOOK_AFTER = 0.2  # seconds; how late a signal may be noticed while one client is served
_SIGNALS = 4096  # more than can be pending
_Serve = Callable[[Channel, "DebugTarget", Any, bool, KeepAlive], None]


class RspServer(Listeners):
    """Serves a target to any number of clients until it is stopped.

    `logger` is a structlog logger; `log_exchanges` says whether to log every packet.
    With `idle_timeout`, in seconds, clients that are silent for that long are dropped.
    """

    def __init__(
        self,
        target: DebugTarget,
        logger: Any,
        log_exchanges: bool = False,
        idle_timeout: float | None = None,
    ) -> None:
        super().__init__()
        self._target = target
        self._logger = logger
        self._log_exchanges = log_exchanges
        self._idle_timeout = idle_timeout
        self._keep_alive = KeepAlive()
        self._clients: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._waker: socket.socket | None = None
        self._warned: dict[str, float] = {}  # when each reason was last told

    def serve(self, once: bool = False) -> None:
        """Accept clients until `stop` or `end_soon`; with `once`, until the first one has left."""
        if not self._listeners:
            raise RuntimeError("listen() comes first")
        # Loaded now that clients can come, and before they do: later no file may be left to open.
        from kdump_gdbserver.adapters.rsp_tcp.transport.client_loop import serve_client

        self._logger = self._logger.bind()
        for connection in self._accepted():
            if once:  # before it is served: whoever sees that can connect to nothing any more
                self.close_listeners()
            thread = self._start(connection, serve_client)
            if once:
                if thread is not None:
                    self._wait_for(thread)
                break

    def serve_stdio(self) -> None:
        """Serve one client on standard input and output until it leaves, or `end_soon`."""
        from kdump_gdbserver.adapters.rsp_tcp.transport.client_loop import serve_client

        channel = Channel(STDIN, take_standard_output(), self._idle_timeout)
        log = self._logger.bind(client="stdio")
        arguments = (channel, self._target, log, self._log_exchanges, self._keep_alive)
        thread = threading.Thread(target=serve_client, args=arguments, daemon=True)
        thread.start()
        self._wait_for(thread)

    def when_stuck(self, call: Callable[[], None]) -> None:
        """Have a function called when work does not end though its client has long left."""
        self._keep_alive.when_stuck = call

    def end_soon(self) -> None:
        """Let `serve` return; for signal handlers, which may run between any two instructions.

        Unlike `stop`, it does not wake a `serve` that runs outside the main thread.
        """
        self._stopping = True

    def stop(self) -> None:
        """Stop listening and drop all clients."""
        self._stopping = True
        with self._lock:
            if self._waker is not None:
                self._waker.send(b"x")
            self.remove_files()
            self.close_listeners()
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        deadline = time.monotonic() + _PATIENCE
        for thread in threads:
            with contextlib.suppress(RuntimeError):  # not started yet
                thread.join(max(deadline - time.monotonic(), 0))

    def _accepted(self) -> Iterator[socket.socket]:
        """Yield clients until the server is stopped."""
        waker, woken = socket.socketpair()
        waker.setblocking(False)
        with waker, woken, _woken_by_signals(waker):
            poll = select.poll()
            poll.register(woken, select.POLLIN)
            try:
                with self._lock:
                    if self._stopping:
                        return
                    self._waker = waker
                    by_number = {listener.fileno(): listener for listener in self._listeners}
                    for listener in self._listeners:
                        listener.setblocking(False)
                        poll.register(listener, select.POLLIN)
                while not self._stopping:
                    ready = [number for number, _ in poll.poll()]
                    if woken.fileno() in ready:
                        woken.recv(_SIGNALS)
                    yield from self._accept([by_number[n] for n in ready if n in by_number])
            finally:
                with self._lock:
                    self._waker = None

    def _accept(self, ready: list[socket.socket]) -> Iterator[socket.socket]:
        for listener in ready:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:  # the client is gone again
                continue
            except OSError as error:
                if self._stopping:
                    return
                if error.errno not in _PASSING:
                    raise
                self._warn(error.strerror or str(error))
                time.sleep(_RETRY_AFTER)
                continue
            yield connection

    def _start(self, connection: socket.socket, serve_client: _Serve) -> threading.Thread | None:
        """Serve a client in a thread; if none can be started, drop the client and return None."""
        arguments = (connection, serve_client)
        thread = threading.Thread(target=self._serve_socket, args=arguments, daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the limit of threads is reached
            with self._lock:
                self._threads.discard(thread)
            connection.close()
            self._warn(str(error))
            return None
        return thread

    def _warn(self, reason: str) -> None:
        """Say that a client cannot be taken, and why; the same again only after a while."""
        now = time.monotonic()
        if now - self._warned.get(reason, -_SAY_AGAIN_AFTER) >= _SAY_AGAIN_AFTER:
            self._warned[reason] = now
            self._logger.warning("cannot take a client", reason=reason)

    def _wait_for(self, thread: threading.Thread) -> None:
        """Wait for a thread to end, or for `end_soon`, which is polled."""
        while thread.is_alive() and not self._stopping:
            thread.join(_LOOK_AFTER)

    def _serve_socket(self, connection: socket.socket, serve_client: _Serve) -> None:
        with self._lock:
            self._clients.add(connection)
            if self._stopping:  # `stop` has not seen this client
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        try:
            with connection:
                log = self._logger.bind(client=_name_of(connection))
                connection.setblocking(self._idle_timeout is None)
                if connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    # So that a client whose machine is gone does not stay for ever.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                number = connection.fileno()
                channel = Channel(number, number, self._idle_timeout)
                keep = self._keep_alive
                serve_client(channel, self._target, log, self._log_exchanges, keep)
        except OSError:  # gone before its name was known
            pass
        finally:
            with self._lock:
                self._clients.discard(connection)
                self._threads.discard(threading.current_thread())


@contextlib.contextmanager
def _woken_by_signals(waker: socket.socket) -> Iterator[None]:
    """Let signals write to `waker`: one that arrives just before poll(2) would not end it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)


def _name_of(connection: socket.socket) -> str:
    """Return the name of a client in the log."""
    if connection.family != socket.AF_UNIX:
        return "{}:{}".format(*connection.getpeername()[:2])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("3i", credentials)
    return f"pid {pid} of uid {uid}"
