"""`x`: memory as binary data, in the two forms that debuggers know.

gdb's form (gdb 16; LLDB 21 and later) is used by clients that see `binary-upload+` in the
answer to `qSupported`; its replies begin with `b`. LLDB's older form is asked for by a read
of nothing at address 0, which is answered by OK; its replies are the bytes alone.
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.client import PACKET_SIZE, Client
from kdump_gdbserver.adapters.rsp_tcp.encoding import parse_hex_pair
from kdump_gdbserver.adapters.rsp_tcp.framing import cut_escaped, escape_some
from kdump_gdbserver.adapters.rsp_tcp.run_length import encode_binary

_PROBE = b"0,0"
_MAX_READ = PACKET_SIZE - 16


def read_binary(client: Client, arguments: bytes) -> bytes:
    """`x ADDRESS,LENGTH`: the readable bytes; an error when not even the first is."""
    if arguments == _PROBE and client.lldb:
        client.bare_binary = True
        return b"OK"
    if not (client.bare_binary or client.binary_memory):
        return b""
    address, length = parse_hex_pair(arguments)
    data = client.session.read_memory(address, min(length, _MAX_READ))
    text = encode_binary(data)
    if len(text) > _MAX_READ:
        # A run must not be cut, and a `*` stands for nothing else.
        text = escape_some(data, _MAX_READ) if b"*" in text else cut_escaped(text, _MAX_READ)
    return text if client.bare_binary else b"b" + text
