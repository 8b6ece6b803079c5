"""Packets that switch something: extended mode, attaching, physical addresses."""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.threads import stop_reason
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex
from kdump_gdbserver.domain.errors import InputError


def extended_mode(client: Client, arguments: bytes) -> bytes:
    """`!`: the connection outlives its process (GDB manual, "Packets")."""
    client.extended = True
    return b"OK"


def detach(client: Client, arguments: bytes) -> bytes:
    """`D`, `D;PID`: the client leaves; in extended mode it leaves the process only."""
    _leave(client)
    return b"OK"


def kill(client: Client, arguments: bytes) -> None:
    """`k`: a dump cannot be killed; as `D`, and the client expects no reply."""
    _leave(client)


def kill_process(client: Client, arguments: bytes) -> bytes:
    """`vKill;PID`: as `D`."""
    _leave(client)
    return b"OK"


def _leave(client: Client) -> None:
    client.attached = False
    client.leaving = not client.extended


def attach(client: Client, arguments: bytes) -> bytes:
    """`vAttach;PID`: look at the process anew, as if nothing had been done to it."""
    pid = parse_hex(arguments)
    if pid != client.pid:
        raise PacketError(f"this dump is shown as process {client.pid}: try attach {client.pid}")
    client.start_over()
    return stop_reason(client, b"")


def refuse_to_start(client: Client, arguments: bytes) -> bytes:
    """`vRun`: nothing is started in a crash dump."""
    return client.refusal("a crash dump cannot run programs: it shows one moment only")


def restart(client: Client, arguments: bytes) -> None:
    """`R`: nothing is restarted in a crash dump; the packet has no reply."""


def set_physical(client: Client, arguments: bytes) -> bytes:
    """`Qqemu.PhyMemMode:N`: addresses are physical (1) or virtual (0), as in QEMU's stub."""
    if arguments not in (b"0", b"1"):
        raise PacketError("Qqemu.PhyMemMode takes 0 or 1")
    try:
        client.session.set_physical_mode(arguments == b"1")
    except InputError as error:
        raise PacketError(str(error)) from None
    return b"OK"


def is_physical(client: Client, arguments: bytes) -> bytes:
    """`qqemu.PhyMemMode`: 1 when addresses are physical, else 0."""
    return b"%d" % client.session.physical_mode


def extensions(client: Client, arguments: bytes) -> bytes:
    """`qqemu.Supported`: which of QEMU's own packets there are."""
    return b"PhyMemMode"
