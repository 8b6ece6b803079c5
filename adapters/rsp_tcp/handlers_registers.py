"""Packets that read registers: `g`, `p`. Writes are refused (GDB manual, "Packets")."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.client import Client
from kdump_gdbserver.adapters.rsp_tcp.encoding import encode_register, encode_registers, parse_hex


def read_all(client: Client, arguments: bytes) -> bytes:
    """`g`: all registers of the selected thread."""
    return encode_registers(client.general_thread.registers)


def read_one(client: Client, arguments: bytes) -> bytes:
    """`p N`: one register of the selected thread."""
    return encode_register(client.general_thread.registers, parse_hex(arguments))


def refuse_write(client: Client, arguments: bytes) -> bytes:
    """`G`, `P`: a crash dump cannot be changed."""
    return b"E.a crash dump is read-only: registers cannot be written"
