"""Where the options say to listen."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kdump_gdbserver.cli import console

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.rsp_tcp.transport.listeners import Listeners
    from kdump_gdbserver.cli.console import Place


def listen(listeners: Listeners, options: argparse.Namespace) -> Place:
    """Begin to listen, and return where; raises `InputError`."""
    if options.unix is not None:
        listeners.listen_unix(options.unix)
        return console.unix_place(options.unix)
    if count := listeners.take_inherited():
        return console.inherited_place(count)
    port = listeners.listen(options.address, options.port)
    return console.tcp_place(options.address, port)
