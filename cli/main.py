"""The program: parse the options, wire the parts, serve until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kdump_gdbserver.cli.arguments import parse_arguments
from kdump_gdbserver.domain.errors import InputError

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.rsp_tcp.transport.listeners import Listeners
    from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
    from kdump_gdbserver.application.view import DeferredTarget
    from kdump_gdbserver.cli.console import Place
    from kdump_gdbserver.cli.container import Container
    from kdump_gdbserver.cli.worker import Front

EXIT_OK, EXIT_UNUSABLE = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status (2: something given is unusable)."""
    _open_closed_streams()
    # numpy's OpenBLAS starts threads with stacks of their own, ends the process when there is no
    # memory for them, and nothing here uses it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    options = parse_arguments(arguments)
    if options.print_gdb_script:
        from kdump_gdbserver.cli.console import gdb_script

        print(gdb_script())
        return EXIT_OK
    # What follows takes time to import; `--help` does without.
    from kdump_gdbserver.cli import console

    try:
        if options.version:
            print(_versions(options))
        elif options.write_gdb_script is not None:
            from kdump_gdbserver.cli.gdb_script import write_gdb_script

            print(f"source {write_gdb_script(options.write_gdb_script)}")
        elif options.save_symbols is not None:
            from kdump_gdbserver.cli.symbols_file import save_symbols

            _end_on_signals()
            print(save_symbols(_container(options), options.save_symbols))
        else:
            return _run(options)
    except InputError as error:
        console.say_error(str(error))
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        pass
    finally:
        console.give_up_unwritable()
    return EXIT_OK


def _open_closed_streams() -> None:
    """Open /dev/null for standard streams that were closed when the program started.

    Else a file or a client would get the number, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    # Python has None where it found no stream.
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _container(options: argparse.Namespace) -> Container:
    # OpenSSL, which dependency-injector loads by way of asyncio, would take 7 ms and 4 MiB.
    from kdump_gdbserver.cli.imports import as_if_not_installed

    with as_if_not_installed("ssl"):
        from kdump_gdbserver.cli.container import Container

    container = Container()
    container.config.from_dict(vars(options))
    return container


def _versions(options: argparse.Namespace) -> str:
    from importlib.metadata import version

    library = _container(options).opener().describe()
    sandbox = "none, as told by --no-sandbox"
    if not options.no_sandbox:
        from kdump_gdbserver.adapters.sandbox.lock import describe

        sandbox = describe()
    return f"kdump-gdbserver {version('kdump-gdbserver')}\nsandbox: {sandbox}\n{library}"


def _run(options: argparse.Namespace) -> int:
    """Serve, in this process or in one that has given everything up; return the exit status."""
    if options.no_sandbox:
        _serve(_container(options), options, _OwnFront(options))
        return EXIT_OK
    from kdump_gdbserver.cli.supervisor import Supervisor

    return Supervisor(options, partial(_work, options)).run()


def _work(options: argparse.Namespace, front: Front) -> int:
    """Serve in a process of its own; return the exit status."""
    from kdump_gdbserver.cli import console
    from kdump_gdbserver.cli.worker import connect, give_up

    container = _container(options)
    try:
        connect(container, front)
        give_up(container, options)
        _serve(container, options, front)
    except InputError as error:
        console.say_error(str(error))
        return EXIT_UNUSABLE
    except MemoryError:
        most = container.budget().address_space >> 20
        console.say_error(
            f"{options.file[0]}: opening it takes more memory than the {most} MiB that it may; the"
            " dump may be damaged, or made to do that"
        )
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        pass
    return EXIT_OK


class _OwnFront:
    """Serves in the process that the user has started; see `worker.Front`."""

    first = True

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def listen(self, listeners: Listeners) -> Place:
        from kdump_gdbserver.cli.listening import listen

        return listen(listeners, self._options)

    def ready(self, server: RspServer) -> None:
        pass


def _serve(container: Container, options: argparse.Namespace, front: Front | _OwnFront) -> None:
    from kdump_gdbserver.cli import console

    _end_on_signals()
    with console.progress(f"opening {options.file[0]}"):
        dump = container.dump()
    symbol_file = container.symbol_file()
    if options.process is None:
        _warn(front, console.warnings_about(dump, symbol_file, options.vmlinux))
    else:
        _warn(front, console.warnings_about(dump, None, None))
        _warn(front, console.process_warnings(dump, options.sysroot))
    symbols = container.symbols()
    target = container.target()
    if options.process is not None and symbol_file is not None:
        warnings = console.executable_warnings(target.prepare(), symbol_file, options.vmlinux)
        _warn(front, warnings)
    server = container.server()
    if options.stdio:
        target.prepare()
        with _ended_by_signals(server):
            front.ready(server)
            server.serve_stdio()
        return
    offset = None if options.process is None else target.prepare().placement.offset
    with _ended_by_signals(server):
        place = front.listen(server)
        if options.process is None:
            info = dump.vmcoreinfo
            signed = "pauth_cmask" in dump.facts.arch.machine_registers(info)
            text = console.invitation(place, options.vmlinux, info, symbols, signed)
        else:
            text = console.process_invitation(place, options.vmlinux, offset)
        if server.exposed_address is not None:
            _warn(front, [console.exposure(server.exposed_address)])
        if front.first:
            console.say(text)
        # While nobody has connected yet, look up what the first client will ask for.
        threading.Thread(target=_prepare, args=(target,), daemon=True).start()
        front.ready(server)
        server.serve(once=options.once)


def _warn(front: Front | _OwnFront, warnings: Sequence[str]) -> None:
    from kdump_gdbserver.cli import console

    for warning in warnings if front.first else ():
        console.say_warning(warning)


def _prepare(target: DeferredTarget) -> None:
    # A view that cannot be made is tried again, and the error logged, for each client.
    with contextlib.suppress(InputError):
        target.prepare()
    from kdump_gdbserver.adapters.rsp_tcp.wire.hex_digits import make_ready

    make_ready()


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
