"""Packets that read memory: `m` in hex, `x` in binary. Writes are refused.

`x` has two forms. Clients that see `binary-upload+` in the reply to `qSupported` use gdb's (gdb 16,
LLDB 21): its replies start with `b`. An older LLDB asks for its own form by a read of 0 bytes at
address 0, which is answered by OK: its replies are the bytes alone (GDB manual, "Packets"; LLDB's
document of its extensions).
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE, Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    OK,
    UNSUPPORTED,
    Data,
    Ok,
    Refused,
    Unsupported,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import parse_hex_pair
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import cut_escaped, escape_some
from kdump_gdbserver.adapters.rsp_tcp.wire.run_length import encode_binary, encode_memory

# PacketSize is the size of a packet's payload; in hex that is half as many bytes.
_MAX_READ = PACKET_SIZE // 2
_PROBE = b"0,0"
_MAX_BINARY = PACKET_SIZE - 16


def read_memory(client: Client, arguments: bytes) -> Data:
    """`m ADDRESS,LENGTH`: the bytes up to the first that cannot be read; at least one."""
    address, length = parse_hex_pair(arguments)
    return Data(encode_memory(client.session.read_memory(address, min(length, _MAX_READ))))


def read_binary(client: Client, arguments: bytes) -> Data | Ok | Unsupported:
    """`x ADDRESS,LENGTH`: the bytes up to the first that cannot be read; at least one."""
    if arguments == _PROBE and client.lldb:
        client.bare_binary = True
        return OK
    if not (client.bare_binary or client.binary_memory):
        return UNSUPPORTED
    address, length = parse_hex_pair(arguments)
    data = client.session.read_memory(address, min(length, _MAX_BINARY))
    text = encode_binary(data)
    if len(text) > _MAX_BINARY:
        # A run must not be cut. A `*` always belongs to one.
        text = escape_some(data, _MAX_BINARY) if b"*" in text else cut_escaped(text, _MAX_BINARY)
    return Data(text if client.bare_binary else b"b" + text)


def refuse_write(client: Client, arguments: bytes) -> Refused:
    """`M`, `X`: a crash dump cannot be changed."""
    return Refused("a crash dump is read-only: memory cannot be written")
