"""Sockets that systemd passes to us (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from kdump_gdbserver.domain.errors import InputError

_FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_listeners(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets passed to this process, maybe none.

    The environment variables for them are removed, so that no child process uses them. Raises
    `InputError` for a descriptor that is not a listening stream socket.
    """
    pid, count, _ = (environment.get(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    for name in _VARIABLES:
        environment.pop(name, None)
    return [_listener(number) for number in range(_FIRST, _FIRST + int(count))]


def _listener(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listener.type == socket.SOCK_STREAM and listening:
            return listener
        reason = "not a listening stream socket; use ListenStream= and Accept=no"
    except OSError as error:
        reason = error.strerror or str(error)
    raise InputError(f"descriptor {descriptor}, passed by systemd, cannot be served: {reason}")
