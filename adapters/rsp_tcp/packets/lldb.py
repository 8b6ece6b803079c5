"""Packets that only LLDB sends (LLDB's docs/resources/lldbgdbremote, "LLDB extensions")."""

from __future__ import annotations

import json
from typing import Any

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import OK, UNSUPPORTED, Data, Ok, Unsupported
from kdump_gdbserver.adapters.rsp_tcp.packets.threads import stop_reply
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import (
    PacketError,
    encode_register,
    encode_text,
    parse_hex,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import escape
from kdump_gdbserver.domain.arch.model import Slot
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.threads import Thread

_SIGTRAP = 5


def _hex(text: str) -> bytes:
    return encode_text(text).hex().encode()


def thread_suffix(client: Client, arguments: bytes) -> Ok:
    """`QThreadSuffixSupported`: the client is LLDB, and may name a thread in `g` and `p`."""
    client.lldb = True
    return OK


def threads_in_stop_reply(client: Client, arguments: bytes) -> Ok:
    """`QListThreadsInStopReply`: stop replies list all threads."""
    client.lldb = client.threads_in_stop_reply = True
    return OK


def error_strings(client: Client, arguments: bytes) -> Ok:
    """`QEnableErrorStrings`: errors come with a text."""
    client.lldb = client.error_strings = True
    return OK


def _machine(client: Client) -> bytes:
    arch = client.inferior.arch
    return b"triple:%b;endian:%b;ptrsize:%d;" % (
        _hex(arch.triple),
        arch.byte_order.encode(),
        arch.pointer_size,
    )


def host_info(client: Client, arguments: bytes) -> Data:
    """`qHostInfo`: the dumped machine."""
    reply, facts = _machine(client), client.inferior.facts
    if client.inferior.addressing_bits is not None:
        reply += b"addressing_bits:%d;" % client.inferior.addressing_bits
    if facts is not None:
        reply += b"vm-page-size:%d;" % facts.page_size
        if facts.nodename:
            reply += b"hostname:%b;" % _hex(facts.nodename)
    return Data(reply)


def process_info(client: Client, arguments: bytes) -> Data:
    """`qProcessInfo`: the kernel or the process that the view shows."""
    if not client.attached:
        raise PacketError("no process is attached")
    return Data(b"pid:%x;" % client.pid + _machine(client))


def memory_region(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qMemoryRegionInfo:ADDRESS`: the mapping or the hole around an address."""
    memory_map = client.session.memory_map
    if memory_map is None:
        return UNSUPPORTED
    try:
        region = memory_map.region(parse_hex(arguments))
    except MemoryFault as fault:
        return Data(b"error:%b;" % _hex(str(fault)))
    reply = b"start:%x;size:%x;" % (region.start, region.end - region.start)
    if region.permissions:
        reply += b"permissions:%b;" % region.permissions.encode()
    if region.name:
        reply += b"name:%b;" % _hex(region.name)
    return Data(reply)


def thread_stop_info(client: Client, arguments: bytes) -> Data:
    """`qThreadStopInfoTID`: why a thread stopped; only the current one has a signal."""
    thread = client.find_thread(arguments)
    reply = stop_reply(client, thread)
    return Data(reply if thread is client.inferior.current else b"T00" + reply[3:])


def threads_info(client: Client, arguments: bytes) -> Data:
    """`jThreadsInfo`: all threads with names, pc and sp, as JSON."""
    threads = [_thread_info(client, thread) for thread in client.inferior.threads]
    return Data(escape(json.dumps(threads, separators=(",", ":")).encode()))


def _thread_info(client: Client, thread: Thread) -> dict[str, Any]:
    arch, registers = client.inferior.arch, thread.registers
    info: dict[str, Any] = {
        "tid": thread.id.tid,
        "name": thread.name or thread.extra,
        "registers": {},
    }
    for name in (arch.pc, arch.sp):
        if name in registers:
            number = registers.layout.by_name[name].number
            info["registers"][str(number)] = encode_register(registers, number).decode()
    if thread is client.inferior.current:
        info |= {"reason": "signal", "signal": _SIGTRAP}
    return info


_SETS = {"float": "Floating Point Registers", "vector": "Vector Registers"}


def register_info(client: Client, arguments: bytes) -> Data:
    """`qRegisterInfoN`: one register, for an LLDB built without XML."""
    number, slots = parse_hex(arguments), client.inferior.layout.slots
    if number >= len(slots):
        raise PacketError("no more registers", 0x45)  # LLDB stops at this code
    return Data(b"".join(b"%b:%b;" % pair for pair in _register_fields(slots[number])))


def _register_fields(slot: Slot) -> list[tuple[bytes, bytes]]:
    register = slot.register
    is_wide = register.bits > 64  # vectors, and x87's 80 bits
    fields = [
        ("name", register.name),
        ("bitsize", str(register.bits)),
        ("offset", str(slot.offset)),
        ("encoding", "vector" if is_wide else "uint"),
        ("format", "vector-uint8" if is_wide else "hex"),
        ("set", _SETS.get(register.group or "", "General Purpose Registers")),
    ]
    if register.dwarf is not None:
        fields += [("gcc", str(register.dwarf)), ("dwarf", str(register.dwarf))]
    if register.role is not None:
        fields.append(("generic", register.role))
    return [(key.encode(), value.encode()) for key, value in fields]


def working_directory(client: Client, arguments: bytes) -> Data:
    """`qGetWorkingDir`: there is none."""
    raise PacketError("a crash dump has no working directory")


def server_version(client: Client, arguments: bytes) -> Data:
    """`qGDBServerVersion`: the name of this server."""
    return Data(b"name:kdump-gdbserver;")
