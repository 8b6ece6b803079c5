"""Packets about the connection and the target as a whole (GDB manual, "Packets")."""

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


def supported(client: Client, arguments: bytes) -> Data:
    """`qSupported`: agree on what both sides can do."""
    offered = arguments.split(b";")
    client.multiprocess = b"multiprocess+" in offered
    client.error_messages = b"error-message+" in offered
    client.binary_memory = True
    features = [
        b"PacketSize=%x" % PACKET_SIZE,
        b"QStartNoAckMode+",
        b"qXfer:features:read+",
        b"qXfer:threads:read+",
        b"qXfer:osdata:read+",
        b"binary-upload+",
    ]
    if client.session.auxv is not None:
        features.append(b"qXfer:auxv:read+")
    if client.session.exec_file is not None:
        features.append(b"qXfer:exec-file:read+")
    if any(thread.siginfo is not None for thread in client.session.threads):
        features.append(b"qXfer:siginfo:read+")
    if client.multiprocess:
        features.append(b"multiprocess+")
    if client.error_messages:
        features.append(b"error-message+")
    return Data(b";".join(features))


def start_no_ack_mode(client: Client, arguments: bytes) -> Ok:
    """`QStartNoAckMode`: no more `+` and `-` once this reply is acknowledged."""
    client.acknowledge = False
    return OK


def attached(client: Client, arguments: bytes) -> Data:
    """`qAttached`: say attached, so that the client detaches at its end, not kills."""
    return Data(b"1")


def offsets(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qOffsets`: where the symbol file is, so that KASLR is undone.

    gdb is told the address of the first segment. LLDB takes that for an offset, too, but
    understands the form with offsets, which gdb does not apply to all sections.
    """
    text, offset = client.session.text_segment, client.session.load_offset
    if client.lldb and offset is not None:
        return Data(b"Text=%x;Data=%x;Bss=%x" % (offset, offset, offset))
    if not client.lldb and text is not None:
        return Data(b"TextSeg=%x" % text)
    return UNSUPPORTED


def refuse_to_run(client: Client, arguments: bytes) -> Refused:
    """`c`, `s`, `vCont` and so on: nothing runs in a crash dump."""
    return Refused("a crash dump cannot run: it shows one moment only")


def refuse_breakpoint(client: Client, arguments: bytes) -> Refused:
    """`Z`, `z`: nothing runs in a crash dump, so nothing can be stopped."""
    return Refused("a crash dump cannot run: breakpoints and watchpoints are of no use")


def unsupported(client: Client, arguments: bytes) -> Unsupported:
    """Reply empty, as the manual asks for any packet that is not known."""
    return UNSUPPORTED
