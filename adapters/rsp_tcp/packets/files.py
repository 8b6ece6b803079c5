"""`vFile`: the client reads files of the dumped machine (GDB manual, "Host I/O Packets").

A client sees the files of the view, read-only, and no others. A view without files answers, too: if
`vFile` were unsupported, gdb would silently use the files of the machine that it runs on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE, Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    UNSUPPORTED,
    WORKING,
    Data,
    Steps,
    Unsupported,
    Work,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import (
    PacketError,
    encode_text,
    parse_hex,
    parse_hex_bytes,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import escape
from kdump_gdbserver.ports.remote_files import MadeInSteps, RefusedError, RemoteFile

# Error numbers of the protocol (GDB manual, "Errno Values").
_ENOENT, _EIO, _EBADF, _EINVAL, _EMFILE, _EROFS = 2, 5, 9, 22, 24, 30

MAX_OPEN = 32
_ACCESS_MODE = 3  # open flags that ask for writing
_REGULAR, _READABLE = 0o100000, 0o444
_BLOCK = 512
# The most bytes in a reply: "F", the length and ";" come before them.
_MOST = PACKET_SIZE - 32
# The protocol's struct stat, big-endian (GDB manual, "struct stat").
_STAT = struct.Struct(">IIIIIIIQQQIII")


def _failed(error: int) -> Data:
    return Data(b"F-1,%x" % error)


def _attached(data: bytes) -> Data:
    """Return the result of an operation with data as its attachment."""
    return Data(b"F%x;" % len(data) + escape(data))


def _set_filesystem(client: Client, arguments: list[bytes]) -> Data:
    return Data(b"F0")


def _path(digits: bytes) -> str:
    return parse_hex_bytes(digits).decode("utf-8", "surrogateescape")


def _find(client: Client, digits: bytes) -> RemoteFile | None:
    files = client.inferior.files
    return files.open(_path(digits)) if files else None


def _open(client: Client, arguments: list[bytes]) -> Data | Work:
    if parse_hex(arguments[1]) & _ACCESS_MODE:
        return _failed(_EROFS)
    if len(client.open_files) >= MAX_OPEN:
        return _failed(_EMFILE)
    file = _find(client, arguments[0])
    if file is None:
        return _failed(_ENOENT)
    return (
        Work(_prepared(client, file, file))
        if isinstance(file, MadeInSteps)
        else _take(client, file)
    )


def _prepared(client: Client, file: RemoteFile, made: MadeInSteps) -> Steps:
    for _ in made.prepare():
        yield WORKING
    return _take(client, file)


def _take(client: Client, file: RemoteFile) -> Data:
    number = next(n for n in range(3, 4 + MAX_OPEN) if n not in client.open_files)
    client.open_files[number] = file
    return Data(b"F%x" % number)


def _close(client: Client, arguments: list[bytes]) -> Data:
    file = client.open_files.pop(parse_hex(arguments[0]), None)
    if file is None:
        return _BAD
    file.close()
    return Data(b"F0")


def _read(client: Client, arguments: list[bytes]) -> Data:
    file = client.open_files.get(parse_hex(arguments[0]))
    if file is None:
        return _BAD
    count, offset = parse_hex(arguments[1]), parse_hex(arguments[2])
    try:
        part = file.read(offset, min(count, _MOST))
    except OSError:
        return _failed(_EIO)
    except RefusedError as refusal:
        client.log.refused(str(refusal))
        return _STOP
    reply = _attached(part)
    # Escaping can double the data.
    return reply if len(reply) <= PACKET_SIZE else _attached(part[: _MOST // 2])


def _stat(file: RemoteFile) -> Data:
    blocks = -(-file.size // _BLOCK)
    packed = _STAT.pack(0, 0, _REGULAR | _READABLE, 1, 0, 0, 0, file.size, _BLOCK, blocks, 0, 0, 0)
    return _attached(packed)


def _stat_open(client: Client, arguments: list[bytes]) -> Data:
    file = client.open_files.get(parse_hex(arguments[0]))
    return _BAD if file is None else _stat(file)


def _stat_path(client: Client, arguments: list[bytes]) -> Data:
    file = _find(client, arguments[0])
    if file is None:
        return _failed(_ENOENT)
    reply = _stat(file)
    file.close()
    return reply


def _read_link(client: Client, arguments: list[bytes]) -> Data:
    files = client.inferior.files
    target = files.read_link(_path(arguments[0])) if files else None
    if target is None:
        return _failed(_ENOENT)
    return _attached(encode_text(target))


def _refuse_change(client: Client, arguments: list[bytes]) -> Data:
    return _failed(_EROFS)


_BAD = _failed(_EBADF)
# gdb takes every error number for a file that is not there, and goes on. A byte that is promised
# and not sent ends its command with an error (gdb/remote.c, remote_hostio_pread).
_STOP = Data(b"F1;")

# Each operation with the least number of its arguments.
_OPERATIONS: dict[bytes, tuple[Callable[[Client, list[bytes]], Data | Work], int]] = {
    b"setfs": (_set_filesystem, 1),
    b"open": (_open, 3),
    b"close": (_close, 1),
    b"pread": (_read, 3),
    b"fstat": (_stat_open, 1),
    b"stat": (_stat_path, 1),
    b"lstat": (_stat_path, 1),
    b"readlink": (_read_link, 1),
    b"pwrite": (_refuse_change, 0),
    b"unlink": (_refuse_change, 0),
}


def file_request(client: Client, arguments: bytes) -> Data | Work | Unsupported:
    """`vFile:OPERATION:...`: a result, or an error number of the protocol."""
    name, _, rest = arguments.partition(b":")
    operation, least = _OPERATIONS.get(name, (None, 0))
    if operation is None:
        return UNSUPPORTED
    fields = rest.split(b",")
    if len(fields) < least:
        return _failed(_EINVAL)
    try:
        return operation(client, fields)
    except PacketError:  # `vFile` has its own form of errors
        return _failed(_EINVAL)
