"""Packets that change a mode: extended mode, attaching, physical addresses."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    NO_REPLY,
    OK,
    UNSUPPORTED,
    Data,
    NoReply,
    Ok,
    Refused,
    Unsupported,
)
from kdump_gdbserver.adapters.rsp_tcp.packets.threads import stop_reason
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex


def extended_mode(client: Client, arguments: bytes) -> Ok:
    """`!`: the connection outlives its process (GDB manual, "Packets")."""
    client.extended = True
    return OK


def detach(client: Client, arguments: bytes) -> Ok:
    """`D`, `D;PID`: the client leaves; in extended mode, only the process."""
    _leave(client)
    return OK


def kill(client: Client, arguments: bytes) -> NoReply:
    """`k`: as `D`, since a dump cannot be killed, but without a reply."""
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
    """`vAttach;PID`: attach to the process again, in its initial state."""
    pid = parse_hex(arguments)
    if pid != client.pid:
        raise PacketError(f"this dump is shown as process {client.pid}: try attach {client.pid}")
    client.start_over()
    return stop_reason(client, b"")


def refuse_to_start(client: Client, arguments: bytes) -> Refused:
    """`vRun`: nothing can be started in a crash dump."""
    return Refused("a crash dump cannot run programs: it shows one moment only")


def restart(client: Client, arguments: bytes) -> NoReply:
    """`R`: nothing can be restarted in a crash dump; the packet has no reply."""
    return NO_REPLY


def set_physical(client: Client, arguments: bytes) -> Ok | Unsupported:
    """`Qqemu.PhyMemMode:N`: addresses are physical (1) or virtual (0), as in QEMU's stub."""
    if client.session.physical is None:
        return UNSUPPORTED
    if arguments not in (b"0", b"1"):
        raise PacketError("Qqemu.PhyMemMode takes 0 or 1")
    client.session.physical.switch(arguments == b"1")
    return OK


def is_physical(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qqemu.PhyMemMode`: 1 when addresses are physical, else 0."""
    physical = client.session.physical
    return UNSUPPORTED if physical is None else Data(b"%d" % physical.active)


def extensions(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qqemu.Supported`: the supported packets of QEMU's own."""
    return UNSUPPORTED if client.session.physical is None else Data(b"PhyMemMode")
