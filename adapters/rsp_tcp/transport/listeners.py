"""Listeners: the sockets that clients connect to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence

from kdump_gdbserver.adapters.rsp_tcp.transport.systemd import inherited_listeners
from kdump_gdbserver.adapters.rsp_tcp.transport.tcp import beyond_loopback, listen_tcp
from kdump_gdbserver.adapters.rsp_tcp.transport.unix import UnixListener


class Listeners:
    """Sockets that listen: on TCP, in the file system, systemd's, or another process's."""

    def __init__(self) -> None:
        self._listeners: list[socket.socket] = []
        self._files: list[UnixListener] = []

    @property
    def listening(self) -> Sequence[socket.socket]:
        """The sockets."""
        return self._listeners

    def listen(self, host: str, port: int) -> int:
        """Listen on TCP and return the port, a free one if `port` is 0.

        Raises `InputError` if that is not possible.
        """
        listeners = listen_tcp(host, port)
        self._listeners += listeners
        return int(listeners[0].getsockname()[1])

    def listen_unix(self, path: str) -> None:
        """Listen on a Unix socket, whose file `remove_files` removes; raises `InputError`."""
        listener = UnixListener(path)
        self._files.append(listener)
        self._listeners.append(listener.socket)

    def take_inherited(self) -> int:
        """Take the sockets that systemd has passed to us; return their number."""
        listeners = inherited_listeners(os.environ)
        self._listeners += listeners
        return len(listeners)

    def adopt(self, listeners: Iterable[socket.socket]) -> None:
        """Take sockets that another process listens on, too."""
        self._listeners += listeners

    @property
    def exposed_address(self) -> str | None:
        """A listening address that other machines can reach; None if there is none."""
        return beyond_loopback(self._listeners)

    def close_listeners(self) -> None:
        """Let nobody connect any more, unless another process has the sockets, too."""
        for listener in self._listeners:
            listener.close()

    def remove_files(self) -> None:
        """Remove the Unix sockets that were made here."""
        for file in self._files:
            file.remove()
