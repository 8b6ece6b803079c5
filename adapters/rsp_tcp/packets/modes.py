"""Packets that switch something: extended mode, attaching, physical addresses."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    NO_REPLY,
    OK,
    Data,
    NoReply,
    Ok,
    Refused,
)
from kdump_gdbserver.adapters.rsp_tcp.packets.threads import stop_reason
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex


def extended_mode(client: Client, arguments: bytes) -> Ok:
    """`!`: the connection outlives its process (GDB manual, "Packets")."""
    client.extended = True
    return OK


def detach(client: Client, arguments: bytes) -> Ok:
    """`D`, `D;PID`: the client leaves; in extended mode it leaves the process only."""
    _leave(client)
    return OK


def kill(client: Client, arguments: bytes) -> NoReply:
    """`k`: a dump cannot be killed; as `D`, and the client expects no reply."""
    _leave(client)
    return NO_REPLY


def kill_process(client: Client, arguments: bytes) -> Ok:
    """`vKill;PID`: as `D`."""
    _leave(client)
    return OK


def _leave(client: Client) -> None:
    client.attached = False
    client.leaving = not client.extended


def attach(client: Client, arguments: bytes) -> Data:
    """`vAttach;PID`: look at the process anew, as if nothing had been done to it."""
    pid = parse_hex(arguments)
    if pid != client.pid:
        raise PacketError(f"this dump is shown as process {client.pid}: try attach {client.pid}")
    client.start_over()
    return stop_reason(client, b"")


def refuse_to_start(client: Client, arguments: bytes) -> Refused:
    """`vRun`: nothing is started in a crash dump."""
    return Refused("a crash dump cannot run programs: it shows one moment only")


def restart(client: Client, arguments: bytes) -> NoReply:
    """`R`: nothing is restarted in a crash dump; the packet has no reply."""
    return NO_REPLY


def set_physical(client: Client, arguments: bytes) -> Ok:
    """`Qqemu.PhyMemMode:N`: addresses are physical (1) or virtual (0), as in QEMU's stub."""
    if arguments not in (b"0", b"1"):
        raise PacketError("Qqemu.PhyMemMode takes 0 or 1")
    client.session.set_physical_mode(arguments == b"1")
    return OK


def is_physical(client: Client, arguments: bytes) -> Data:
    """`qqemu.PhyMemMode`: 1 when addresses are physical, else 0."""
    return Data(b"%d" % client.session.physical_mode)


def extensions(client: Client, arguments: bytes) -> Data:
    """`qqemu.Supported`: which of QEMU's own packets there are."""
    return Data(b"PhyMemMode")
