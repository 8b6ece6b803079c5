"""Packets that read memory: `m`. Writes are refused (GDB manual, "Packets")."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.client import PACKET_SIZE, Client
from kdump_gdbserver.adapters.rsp_tcp.encoding import parse_hex_pair
from kdump_gdbserver.adapters.rsp_tcp.run_length import encode_memory

# PacketSize counts a packet's data alone, and gdb asks for half as many bytes.
_MAX_READ = PACKET_SIZE // 2


def read_memory(client: Client, arguments: bytes) -> bytes:
    """`m ADDRESS,LENGTH`: the readable bytes; an error when not even the first is."""
    address, length = parse_hex_pair(arguments)
    return encode_memory(client.session.read_memory(address, min(length, _MAX_READ)))


def refuse_write(client: Client, arguments: bytes) -> bytes:
    """`M`, `X`: a crash dump cannot be changed."""
    return client.refusal("a crash dump is read-only: memory cannot be written")
