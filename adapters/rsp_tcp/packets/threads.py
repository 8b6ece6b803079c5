"""Packets about threads: `H`, `T`, `qC`, `qfThreadInfo`, `qThreadExtraInfo`, `?`."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE, Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import OK, Data, Ok
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import (
    PacketError,
    encode_register,
    encode_text,
    format_thread_id,
    xml_text,
)
from kdump_gdbserver.domain.threads import Thread

_IDS_PER_PACKET = PACKET_SIZE // 32
_SIGTRAP = 5


def select(client: Client, arguments: bytes) -> Ok:
    """`H OP THREAD`: select the thread for `g` and `p`; `Hc` has no effect."""
    operation, thread = arguments[:1], client.find_thread(arguments[1:])
    if operation == b"g":
        client.general_thread = thread
    return OK


def is_alive(client: Client, arguments: bytes) -> Ok:
    """`T THREAD`: every thread of a dump is alive."""
    client.find_thread(arguments)
    return OK


def current(client: Client, arguments: bytes) -> Data:
    """`qC`: the selected thread."""
    if not client.attached:
        raise PacketError("no process is attached")
    return Data(b"QC" + format_thread_id(client.general_thread.id, client.multiprocess))


def stop_reason(client: Client, arguments: bytes) -> Data:
    """`?`: stopped by SIGTRAP in the view's current thread, with its pc and sp.

    After the client has detached from the process, "exited" says that there is none.
    """
    if not client.attached:
        return Data(b"W00")
    client.general_thread = client.inferior.current
    return Data(stop_reply(client, client.inferior.current))


def stop_reply(client: Client, thread: Thread) -> bytes:
    """Return the stop reply for a thread (GDB manual, "Stop Reply Packets")."""
    reply = b"T%02x" % _SIGTRAP
    registers, arch = thread.registers, client.inferior.arch
    for name in (arch.sp, arch.pc):
        if name in registers:
            number = registers.layout.by_name[name].number
            reply += b"%x:%b;" % (number, encode_register(registers, number))
    reply += b"thread:%b;" % format_thread_id(thread.id, client.multiprocess)
    if thread.core is not None:
        reply += b"core:%x;" % thread.core
    if client.lldb:
        reply += _for_lldb(client, thread)
    return reply


def _for_lldb(client: Client, thread: Thread) -> bytes:
    """Return the fields that only LLDB knows: the name and, if asked for, all thread ids."""
    fields = b"hexname:%b;" % encode_text(thread.name or thread.extra).hex().encode()
    if client.threads_in_stop_reply:
        ids = (b"%x" % other.id.tid for other in client.inferior.threads)
        fields += b"threads:%b;" % b",".join(ids)
    return fields


def list_first(client: Client, arguments: bytes) -> Data:
    """`qfThreadInfo`: the first part of the thread list."""
    if not client.attached:
        return Data(b"l")
    client.listed = 0
    return list_next(client, arguments)


def list_next(client: Client, arguments: bytes) -> Data:
    """`qsThreadInfo`: the next part, or `l` at the end."""
    threads = client.inferior.threads
    part = range(client.listed, min(client.listed + _IDS_PER_PACKET, len(threads)))
    client.listed = part.stop
    if not part:
        return Data(b"l")
    ids = (format_thread_id(threads[i].id, client.multiprocess) for i in part)
    return Data(b"m" + b",".join(ids))


def extra_info(client: Client, arguments: bytes) -> Data:
    """`qThreadExtraInfo,THREAD`: the text that gdb prints in parentheses."""
    return Data(encode_text(client.find_thread(arguments).extra).hex().encode())


def thread_list_document(client: Client) -> bytes:
    """Return the `threads` object: all threads with id, core, name and text."""
    lines = ['<?xml version="1.0"?>\n<threads>\n']
    for thread in client.inferior.threads if client.attached else ():
        thread_id = format_thread_id(thread.id, client.multiprocess).decode()
        name = f' name="{_attribute(thread.name)}"' if thread.name else ""
        core = "" if thread.core is None else f' core="{thread.core}"'
        handle = "" if thread.handle is None else f' handle="{thread.handle.hex()}"'
        extra = xml_text(thread.extra)
        lines.append(f'<thread id="{thread_id}"{core}{name}{handle}>{extra}</thread>\n')
    lines.append("</threads>\n")
    return "".join(lines).encode()


def _attribute(text: str) -> str:
    return xml_text(text).replace('"', "&quot;")
