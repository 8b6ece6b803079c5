"""The program: parse the options, wire the parts, serve until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kdump_gdbserver.cli.arguments import parse_arguments
from kdump_gdbserver.domain.errors import InputError

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
    from kdump_gdbserver.application.view import DeferredTarget, View
    from kdump_gdbserver.cli.console import Place
    from kdump_gdbserver.cli.container import Container

EXIT_OK, EXIT_UNUSABLE = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status (2: something given is unusable)."""
    options = parse_arguments(arguments)
    if options.print_gdb_script:
        from kdump_gdbserver.cli.console import gdb_script

        print(gdb_script())
        return EXIT_OK
    # What follows takes time to import; `--help` does without.
    from kdump_gdbserver.cli import console
    from kdump_gdbserver.cli.container import Container

    container = Container()
    container.config.from_dict(vars(options))
    try:
        if options.version:
            print(_versions(container))
        elif options.write_gdb_script is not None:
            from kdump_gdbserver.cli.gdb_script import write_gdb_script

            print(f"source {write_gdb_script(options.write_gdb_script)}")
        elif options.save_symbols is not None:
            from kdump_gdbserver.cli.symbols_file import save_symbols

            _end_on_signals()
            print(save_symbols(container, options.save_symbols))
        else:
            _serve(container, options)
    except InputError as error:
        console.say_error(str(error))
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        pass
    finally:
        console.give_up_unwritable()
    return EXIT_OK


def _versions(container: Container) -> str:
    from importlib.metadata import version

    return f"kdump-gdbserver {version('kdump-gdbserver')}\n{container.opener().describe()}"


def _serve(container: Container, options: argparse.Namespace) -> None:
    from kdump_gdbserver.cli import console

    _end_on_signals()
    with console.progress(f"opening {options.file[0]}"):
        dump = container.dump()
    symbol_file = container.symbol_file()
    if options.process is None:
        _warn(console.warnings_about(dump, symbol_file, options.vmlinux))
    else:
        _warn(console.warnings_about(dump, None, None))
        _warn(console.process_warnings(dump, options.sysroot))
    symbols = container.symbols()
    target = container.target()
    if options.process is not None and symbol_file is not None:
        _warn(console.executable_warnings(target.prepare(), symbol_file, options.vmlinux))
    server = container.server()
    if options.stdio:
        target.prepare()
        with _ended_by_signals(server):
            server.serve_stdio()
        return
    offset = None if options.process is None else target.prepare().placement.offset
    with _ended_by_signals(server):
        place = _listen(server, options)
        if options.process is None:
            text = console.invitation(place, options.vmlinux, dump.vmcoreinfo, symbols)
        else:
            text = console.process_invitation(place, options.vmlinux, offset)
        if server.exposed_address is not None:
            console.say_warning(console.exposure(server.exposed_address))
        console.say(text)
        # While nobody has connected yet, look up what the first client will ask for.
        threading.Thread(target=_prepare, args=(target,), daemon=True).start()
        server.serve(once=options.once)


def _warn(warnings: Sequence[str]) -> None:
    from kdump_gdbserver.cli import console

    for warning in warnings:
        console.say_warning(warning)


def _listen(server: RspServer, options: argparse.Namespace) -> Place:
    from kdump_gdbserver.cli import console

    if options.unix is not None:
        server.listen_unix(options.unix)
        return console.unix_place(options.unix)
    if count := server.take_inherited():
        return console.inherited_place(count)
    port = server.listen(options.address, options.port)
    return console.tcp_place(options.address, port)


def _prepare(target: DeferredTarget) -> None:
    view: View | None = None
    # A view that cannot be made is tried again, and the error logged, for each client.
    with contextlib.suppress(InputError):
        view = target.prepare()
    from kdump_gdbserver.adapters.rsp_tcp.wire.hex_digits import make_ready

    make_ready()
    if view is not None and view.prepare_files is not None:
        view.prepare_files()


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _end_on_signals() -> None:
    """Stop opening the dump, which may take long, on any of these signals."""
    for number in _ENDING[1:]:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, _interrupt)


@contextlib.contextmanager
def _ended_by_signals(server: RspServer) -> Iterator[None]:
    """Let signals stop the server in order, not by an exception at an arbitrary point.

    The server is stopped however the block ends.
    """
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda signum, frame: server.end_soon())
    try:
        yield
    finally:
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


class _ToldToEnd(KeyboardInterrupt):
    """Not ctrl-C, by which the user may mean one thing that takes long."""


def _interrupt(signum: int, frame: Any) -> None:
    raise _ToldToEnd


if __name__ == "__main__":
    sys.exit(main())
