"""Listening on TCP ports."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable

from kdump_gdbserver.domain.errors import InputError

BACKLOG = 64
# "localhost" is both of these. A name service may know only one of them, and gdb and LLDB try them
# in different orders.
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
# The errors without IPv6; then IPv4 is enough.
_NO_SUCH_FAMILY = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT))
# A port that is free in one family may be in use in the other: how many ports to try.
_TRIES = 20


def listen_tcp(host: str, port: int) -> list[socket.socket]:
    """Return listeners on a port (0: any free one) of `host`, all with the same port.

    "localhost" is both IPv4 and IPv6. Raises `InputError` if that is not possible.
    """
    try:
        if host == "localhost":
            return _listen_on_loopback(port)
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return [_listener(family, address)]
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen on {host} port {port}: {reason};"
            " choose another with --address and --port (--port 0 finds a free one)"
        ) from error


def beyond_loopback(listeners: Iterable[socket.socket]) -> str | None:
    """Return a listening address that other machines can reach; None if there is none."""
    for listener in listeners:
        if listener.family not in (socket.AF_INET, socket.AF_INET6):
            continue
        name = str(listener.getsockname()[0])
        address = ipaddress.ip_address(name.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_loopback:
            return name
    return None


def _listen_on_loopback(port: int) -> list[socket.socket]:
    for _ in range(_TRIES - 1):
        try:
            return _listen_on_both(port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    return _listen_on_both(port)


def _listen_on_both(port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    failed: OSError | None = None
    for family, address in _LOOPBACK:
        try:
            listener = _listener(family, (address, port))
        except OSError as error:
            failed = error
            if error.errno in _NO_SUCH_FAMILY:
                continue
            for each in listeners:
                each.close()
            raise
        listeners.append(listener)
        port = listener.getsockname()[1]
    if failed is not None and not listeners:
        raise failed
    return listeners


def _listener(family: int, address: tuple[str | int | bytes, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] == "::1":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
