"""Packets that read registers: `g`, `p`. Writes are refused (GDB manual, "Packets")."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import Data, Refused
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import (
    PacketError,
    encode_register,
    encode_registers,
    parse_hex,
)
from kdump_gdbserver.domain.threads import Thread


def read_all(client: Client, arguments: bytes) -> Data:
    """`g`: all registers of the selected thread, or of the one LLDB names."""
    return Data(encode_registers(_thread(client, arguments).registers))


def read_one(client: Client, arguments: bytes) -> Data:
    """`p N`: one register of the selected thread, or of the one LLDB names."""
    number, _, suffix = arguments.partition(b";")
    registers = _thread(client, b";" + suffix).registers
    reply = encode_register(registers, parse_hex(number))
    if client.lldb and reply.startswith(b"x"):
        # LLDB does not know `x` for unavailable digits and would show a wrong value.
        raise PacketError("the register is not in the dump")
    return Data(reply)


def _thread(client: Client, arguments: bytes) -> Thread:
    """Return the thread of LLDB's suffix `;thread:TID;`, else the selected one."""
    _, named, tid = arguments.partition(b";thread:")
    return client.find_thread(tid.rstrip(b";")) if named else client.general_thread


def refuse_write(client: Client, arguments: bytes) -> Refused:
    """`G`, `P`: a crash dump cannot be changed."""
    return Refused("a crash dump is read-only: registers cannot be written")
