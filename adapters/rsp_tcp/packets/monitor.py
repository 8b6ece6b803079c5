"""`qRcmd`: gdb's `monitor` command (GDB manual, "General Query Packets").

Commands about the dump belong to the view; those about the connection are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import OK, WORKING, Console, Steps, Work
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import parse_hex_bytes
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.text import printable, printable_line
from kdump_gdbserver.ports.monitor import MonitorCommand

# Characters of output in one piece; few, so that LLDB shows output as it comes.
_PIECE = 0x1000
_SHOWN = 40  # characters of an unknown command that are shown


def run_command(client: Client, arguments: bytes) -> Work:
    """`qRcmd,HEX`: the output of a command."""
    words = parse_hex_bytes(arguments).decode("utf-8", "replace").split()
    return Work(_run(client, words))


def _run(client: Client, words: Sequence[str]) -> Steps:
    lines: list[str] = []
    size = 0
    for line in _output(client, words):
        if line is None:
            yield WORKING
            continue
        lines.append(f"{printable_line(line)}\n")
        size += len(lines[-1])
        if size >= _PIECE:
            yield Console("".join(lines))
            lines, size = [], 0
    if lines:
        yield Console("".join(lines))
    return OK


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
