"""`qRcmd`: gdb's `monitor` command (GDB manual, "General Query Packets").

Commands about the dump are the view's; those about the connection itself are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import parse_hex_bytes
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.ports.monitor import MonitorCommand

# Characters of output that go into one packet for LLDB; small, so that it shows as it comes.
_PART = 0x1000
# Bytes of output, of which a client that takes no packets but the last gets no more.
MAX_OUTPUT = 0x1000000
# After so many of them the client may interrupt.
_AT_ONCE = 0x10000
_SHOWN = 40  # characters of an unknown command that are shown


def run_command(client: Client, arguments: bytes) -> Iterator[bytes]:
    """`qRcmd,HEX`: the command's output, or OK when there is none.

    For LLDB it comes in `O` packets, then OK: it prints nothing else as text. gdb gets
    one packet: when a user interrupts it between two, gdb leaves the others unread and
    takes them for the answers to what it asks next.
    """
    words = parse_hex_bytes(arguments).decode("utf-8", "replace").split()
    lines = _output(client, words)
    return _packets(lines) if client.lldb else _one_packet(lines)


def _one_packet(lines: Iterator[str | None]) -> Iterator[bytes]:
    raw = bytearray()
    following = _AT_ONCE
    for line in lines:
        if line is not None:
            raw += line.encode("utf-8", "replace") + b"\n"
        if len(raw) > MAX_OUTPUT:
            raw += b"(the rest is left out: this is more than a reply may hold)\n"
            break
        if line is None or len(raw) > following:
            following = len(raw) + _AT_ONCE
            yield b""
    yield raw.hex().encode() or b"OK"


def _packets(lines: Iterator[str | None]) -> Iterator[bytes]:
    pending, size = [], 0
    for line in lines:
        if line is None:
            yield b""
            continue
        pending.append(line)
        size += len(line) + 1
        if size >= _PART:
            yield from _encoded(pending)
            pending, size = [], 0
    yield from _encoded(pending)
    yield b"OK"


def _encoded(lines: Sequence[str]) -> Iterator[bytes]:
    raw = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    for start in range(0, len(raw), _PART):
        yield b"O" + raw[start : start + _PART].hex().encode()


def _output(client: Client, words: Sequence[str]) -> Iterator[str | None]:
    """Yield a command's output, or what is wrong with it; None where the next line takes long.

    gdb shows the output of a command as text, but an error reply as a failure of the protocol.
    So an error of a command is a line of its output.
    """
    name, arguments = (words[0], words[1:]) if words else ("help", [])
    command = next((each for each in _commands(client) if each.name == name), None)
    if command is None:
        shown = printable(name[:_SHOWN])
        yield f"unknown command '{shown}'; try 'monitor help'"
        return
    try:
        yield from command.run(arguments)
    except (InputError, MemoryFault) as error:
        yield str(error)


def _commands(client: Client) -> list[MonitorCommand]:
    """Return the view's commands, then the connection's own."""
    monitor = client.session.monitor
    own = (
        MonitorCommand(name, arguments, summary, partial(action, client))
        for name, (action, arguments, summary) in _OWN.items()
    )
    return [*(monitor.commands if monitor else ()), *own]


def _help(client: Client, arguments: Sequence[str]) -> Iterator[str]:
    for command in _commands(client):
        yield f"  {f'{command.name} {command.arguments}':<25} {command.summary}"


def _log(client: Client, arguments: Sequence[str]) -> Iterator[str]:
    if list(arguments) in (["on"], ["off"]):
        client.log.enabled = arguments[0] == "on"
    elif arguments:
        raise InputError("log takes 'on' or 'off'")
    yield f"log of this client's packets is {'on' if client.log.enabled else 'off'}"


def _stats(client: Client, arguments: Sequence[str]) -> Iterator[str]:
    return client.statistics.lines()


_OWN: dict[str, tuple[Callable[[Client, Sequence[str]], Iterator[str]], str, str]] = {
    "log": (_log, "[on|off]", "log this client's packets at the server"),
    "stats": (_stats, "", "this client's packets, bytes and latency"),
    "help": (_help, "", "this list"),
}
