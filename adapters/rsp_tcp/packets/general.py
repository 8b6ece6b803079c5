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
    """`qSupported`: the features of both sides."""
    offered = arguments.split(b";")
    client.multiprocess = b"multiprocess+" in offered
    client.error_messages = b"error-message+" in offered
    client.binary_memory = True
    features = [
        b"PacketSize=%x" % PACKET_SIZE,
        b"QStartNoAckMode+",
        b"qXfer:features:read+",
        b"qXfer:threads:read+",
        b"binary-upload+",
    ]
    if client.inferior.os_tables:
        features.append(b"qXfer:osdata:read+")
    if client.inferior.auxv is not None:
        features.append(b"qXfer:auxv:read+")
    if client.inferior.exec_file is not None:
        features.append(b"qXfer:exec-file:read+")
    if client.inferior.libraries:
        features.append(b"qXfer:libraries-svr4:read+")
    if any(thread.siginfo is not None for thread in client.inferior.threads):
        features.append(b"qXfer:siginfo:read+")
    if client.multiprocess:
        features.append(b"multiprocess+")
    if client.error_messages:
        features.append(b"error-message+")
    return Data(b";".join(features))


def start_no_ack_mode(client: Client, arguments: bytes) -> Ok:
    """`QStartNoAckMode`: no more `+` and `-` after this reply has been acknowledged."""
    client.acknowledge = False
    return OK


def attached(client: Client, arguments: bytes) -> Data:
    """`qAttached`: yes, so that the client detaches when it quits, rather than kills."""
    return Data(b"1")


def offsets(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qOffsets`: where the symbol file was loaded, to undo KASLR.

    gdb gets the address of the first segment. LLDB would take that for an offset. It gets offsets,
    which gdb would not apply to all sections.
    """
    placement = client.inferior.placement
    text, offset = placement.first_segment, placement.offset
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
    return Refused("a crash dump cannot run: breakpoints and watchpoints have no effect")


def unsupported(client: Client, arguments: bytes) -> Unsupported:
    """Any unknown packet gets the empty reply (GDB manual, "Overview")."""
    return UNSUPPORTED
