"""Packets about the connection and the target as a whole (GDB manual, "Packets")."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.client import PACKET_SIZE, Client


def supported(client: Client, arguments: bytes) -> bytes:
    """`qSupported`: agree on what both sides can do."""
    offered = arguments.split(b";")
    client.multiprocess = b"multiprocess+" in offered
    client.error_messages = b"error-message+" in offered
    features = [
        b"PacketSize=%x" % PACKET_SIZE,
        b"QStartNoAckMode+",
        b"qXfer:features:read+",
        b"qXfer:threads:read+",
    ]
    if client.session.auxv is not None:
        features.append(b"qXfer:auxv:read+")
    if client.session.exec_file is not None:
        features.append(b"qXfer:exec-file:read+")
    if client.multiprocess:
        features.append(b"multiprocess+")
    if client.error_messages:
        features.append(b"error-message+")
    return b";".join(features)


def start_no_ack_mode(client: Client, arguments: bytes) -> bytes:
    """`QStartNoAckMode`: no more `+` and `-` once this reply is acknowledged."""
    client.acknowledge = False
    return b"OK"


def attached(client: Client, arguments: bytes) -> bytes:
    """`qAttached`: say attached, so that the client detaches at its end, not kills."""
    return b"1"


def offsets(client: Client, arguments: bytes) -> bytes:
    """`qOffsets`: where the symbol file's first segment is, so that KASLR is undone."""
    text = client.session.text_segment
    return b"" if text is None else b"TextSeg=%x" % text


def detach(client: Client, arguments: bytes) -> bytes:
    """`D`: the client leaves; the server stays."""
    client.leaving = True
    return b"OK"


def kill(client: Client, arguments: bytes) -> None:
    """`k`: a dump cannot be killed; the client leaves and expects no reply."""
    client.leaving = True


def kill_process(client: Client, arguments: bytes) -> bytes:
    """`vKill`: as `k`, with a reply."""
    client.leaving = True
    return b"OK"


def refuse_to_run(client: Client, arguments: bytes) -> bytes:
    """`c`, `s`, `vCont` and so on: nothing runs in a crash dump."""
    return b"E.a crash dump cannot run: it shows one moment only"


def refuse_breakpoint(client: Client, arguments: bytes) -> bytes:
    """`Z`, `z`: nothing runs in a crash dump, so nothing can be stopped."""
    return b"E.a crash dump cannot run: breakpoints and watchpoints are of no use"


def unsupported(client: Client, arguments: bytes) -> bytes:
    """Reply empty, as the manual asks for any packet that is not known."""
    return b""
