"""The TCP transport: listens, and gives each client a thread and a session of its own."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from typing import Any

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.exchange_log import ExchangeLog
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.ports.debug_session import DebugTarget

_RECEIVE_SIZE = 0x10000
_BACKLOG = 16
# Why a client may not be had though others are still served, and when to look again.
_PASSING = frozenset((errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_RETRY_AFTER = 0.1  # seconds


class TcpServer:
    """Serves a target to any number of clients until it is stopped.

    `logger` is a structlog logger; `log_exchanges` says whether to log every packet.
    """

    def __init__(self, target: DebugTarget, logger: Any, log_exchanges: bool = False) -> None:
        self._target = target
        self._logger = logger
        self._log_exchanges = log_exchanges
        self._listener: socket.socket | None = None
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def listen(self, host: str, port: int) -> int:
        """Bind and listen; return the port, which differs from `port` when that is 0.

        Raises `InputError` when the address cannot be had.
        """
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, proto)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(_BACKLOG)
            except BaseException:
                listener.close()
                raise
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"cannot listen on {host} port {port}: {reason};"
                " choose another with --address and --port (--port 0 finds a free one)"
            ) from error
        self._listener = listener
        return int(listener.getsockname()[1])

    def serve(self, once: bool = False) -> None:
        """Accept clients until `stop`; with `once`, until the first one has left."""
        if self._listener is None:
            raise RuntimeError("listen() comes first")
        while not self._stopping:
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                if self._stopping:
                    break
                if error.errno not in _PASSING:
                    raise
                self._logger.warning("cannot take a client", reason=error.strerror)
                time.sleep(_RETRY_AFTER)
                continue
            if once:
                self._listener.close()
                self._serve_client(connection, peer)
                break
            threading.Thread(
                target=self._serve_client, args=(connection, peer), daemon=True
            ).start()

    def stop(self) -> None:
        """Stop listening and drop all clients."""
        self._stopping = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def _serve_client(self, connection: socket.socket, peer: Any) -> None:
        log = self._logger.bind(client="{}:{}".format(*peer[:2]))
        with self._lock:
            self._clients.add(connection)
        log.info("client connected")
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                exchange_log = ExchangeLog(log, self._log_exchanges)
                self._converse(connection, Connection(self._target.open_session(), exchange_log))
            log.info("client left")
        except OSError as error:
            log.info("client lost", reason=str(error))
        except InputError as error:
            log.error("cannot show this dump; the client is dropped", reason=str(error))
        except Exception:
            log.exception("internal error; this client is dropped")
        finally:
            with self._lock:
                self._clients.discard(connection)

    @staticmethod
    def _converse(connection: socket.socket, conversation: Connection) -> None:
        while not conversation.closed:
            data = connection.recv(_RECEIVE_SIZE)
            if not data:
                return
            reply = conversation.receive(data)
            if reply:
                connection.sendall(reply)
            while conversation.streaming:
                connection.sendall(conversation.more())
