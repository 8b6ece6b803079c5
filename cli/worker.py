"""The process that opens and serves the dump, after giving up all that it does not need for it.

The one that started it, `supervisor`, keeps the terminal and the signals, and has the listening
sockets. Nothing else of it is within reach here: standard output and error are pipes to it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kdump_gdbserver.cli.console import Place
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux, WantedKernel
from kdump_gdbserver.ports.symbol_store import SymbolStore

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.rsp_tcp.transport.listeners import Listeners
    from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
    from kdump_gdbserver.cli.container import Container
    from kdump_gdbserver.cli.symbol_choice import Downloaded

# What the worker says to its supervisor, which answers LISTEN with a place and sockets.
LISTEN, READY = b"listen", b"ready"
# Followed by a build-id and an ELF machine; answered by a path, maybe empty, and words.
DOWNLOAD = b"download "
# Followed by a name; the content is in the file that both have. Answered by anything.
KEEP = b"keep "
# The status of a worker in which something never ends; no program ends with it by itself.
STUCK = 70
MESSAGE_SIZE, MOST_SOCKETS = 4096, 64
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")


@dataclass(frozen=True)
class Ends:
    """The worker's ends of what leads to its supervisor, as descriptors."""

    control: int  # a socket that keeps messages apart
    kept: int  # a file in memory, for what is to be kept on disk
    output: int
    errors: int
    noise: int  # what C libraries print by themselves


class Front:
    """What the worker asks its supervisor for."""

    def __init__(self, control: socket.socket, kept: int, *, first: bool) -> None:
        self._control = control
        self._kept = kept
        self._lock = threading.Lock()  # an answer is for who asked
        # The one before has said all that the user should know.
        self.first = first

    def listen(self, listeners: Listeners) -> Place:
        """Say that the dump is open, and get sockets that listen."""
        with self._lock:
            self._control.send(LISTEN)
            answer, numbers, _, _ = socket.recv_fds(self._control, MESSAGE_SIZE, MOST_SOCKETS)
        listeners.adopt(socket.socket(fileno=number) for number in numbers)
        return Place.decode(answer)

    def download(self, wanted: WantedKernel) -> Downloaded:
        """Have a vmlinux downloaded, which cannot be done from here."""
        answer = self._ask(DOWNLOAD + f"{wanted.build_id} {wanted.machine}".encode())
        path, _, words = answer.decode("utf-8", "surrogateescape").partition("\0")
        return (FoundVmlinux(path, words) if path else None), words

    def keep(self, name: str, content: bytes) -> None:
        """Have a content kept on disk."""
        with self._lock:
            os.ftruncate(self._kept, 0)
            os.pwrite(self._kept, content, 0)
        self._ask(KEEP + name.encode())

    def _ask(self, question: bytes) -> bytes:
        with self._lock:
            self._control.send(question)
            return self._control.recv(MESSAGE_SIZE)

    def ready(self, server: RspServer) -> None:
        """Say that clients will be served."""
        server.when_stuck(lambda: os._exit(STUCK))
        self._control.send(READY)


class _Store:
    """Symbols that are kept; written by the supervisor. Implements `ports.SymbolStore`."""

    def __init__(self, store: SymbolStore, front: Front) -> None:
        self._front = front
        self.load = store.load

    def save(self, name: str, content: bytes) -> None:
        """See `SymbolStore.save`."""
        self._front.keep(name, content)


def connect(container: Container, front: Front) -> None:
    """Let the supervisor do what cannot be done here."""
    from dependency_injector import providers

    container.download.override(providers.Object(front.download))
    store = container.symbol_store()
    if store is not None:
        container.symbol_store.override(providers.Object(_Store(store, front)))


def run(
    work: Callable[[Front], int], ends: Ends, options: argparse.Namespace, parent: int, first: bool
) -> NoReturn:
    """Be the worker, right after fork(2); ends the process with what `work` returns."""
    status = 1
    try:
        _attach(ends, options, parent)
        control = socket.socket(fileno=ends.control)
        status = work(Front(control, ends.kept, first=first))
    except Exception:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Without ado: threads may still be reading, and the C library is not to be trusted.
        os._exit(status)


def give_up(container: Container, options: argparse.Namespace) -> None:
    """Open what is needed, then give up the rest; raises `InputError`."""
    from kdump_gdbserver.adapters.sandbox.lock import lock_down

    container.logger()
    container.opener().describe()  # loads the library
    container.sysroot()
    given = (options.vmlinux, options.vmcoreinfo, options.kernel_tasks, options.process)
    files = [*options.file, *filter(None, (*given, options.sysroot))]
    budget = container.budget()
    lock_down(
        [*files, *_places_of_symbols(options)],
        dataclasses.replace(
            budget,
            # A symbol file is mapped, and its DWARF may become as large again.
            address_space=budget.address_space + 2 * _size(options.vmlinux),
            file_size=budget.file_size + _size(options.log_file),
        ),
    )


def _places_of_symbols(options: argparse.Namespace) -> Iterator[str]:
    """Yield where a vmlinux is looked for (`debug_files`, `debuginfod`) and symbols are kept.

    Beside the dump and in the working directory only what has such a name: other files there are
    nobody's business.
    """
    yield "/boot"
    for folder in {Path(path).absolute().parent for path in options.file} | {
        Path("/proc/self/cwd")
    }:
        with contextlib.suppress(OSError):
            yield from map(str, folder.glob("vmlinux*"))
    caches = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
    yield f"{caches}/kdump-gdbserver/symbols"
    downloads = Path(os.environ.get("DEBUGINFOD_CACHE_PATH") or f"{caches}/debuginfod_client")
    if os.environ.get("DEBUGINFOD_URLS"):
        # What is not there yet cannot be allowed.
        with contextlib.suppress(OSError):
            downloads.mkdir(parents=True, exist_ok=True)
    yield str(downloads)


def _size(path: str | None) -> int:
    try:
        return Path(path).stat().st_size if path is not None else 0
    except (OSError, ValueError):
        return 0


def _attach(ends: Ends, options: argparse.Namespace, parent: int) -> None:
    """Lead all that is printed to the supervisor, and close what is not needed."""
    from kdump_gdbserver.adapters.sandbox.system_calls import die_with_parent

    # The supervisor sees to them. A terminal sends them to both.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError):
        die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before that
        os._exit(0)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    sys.stdout = _Pipe(ends.output)
    sys.stderr = _Pipe(ends.errors, terminal)
    os.dup2(ends.noise, 2)
    kept = {2, *dataclasses.astuple(ends), *_given_descriptors(options)}
    if options.stdio:
        kept |= {0, 1}
    else:
        os.dup2(ends.noise, 1)
        kept.add(1)
    _close_all_but(kept)
    if 0 not in kept:
        os.open(os.devnull, os.O_RDONLY)  # gets 0, the lowest


def _given_descriptors(options: argparse.Namespace) -> Iterator[int]:
    """Yield the descriptors that paths like /dev/fd/63 name."""
    given = (options.vmlinux, options.vmcoreinfo, options.kernel_tasks, options.process)
    for path in (*options.file, *given):
        if path == "/dev/stdin":
            yield 0
        elif match := _DESCRIPTOR.fullmatch(path or ""):
            yield int(match[1])


def _close_all_but(kept: set[int]) -> None:
    lowest = 0
    for number in sorted(kept):
        if number > lowest:  # closerange(0, 0) closes everything
            os.closerange(lowest, number)
        lowest = number + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))


class _Pipe(io.TextIOWrapper):
    """A stream to the supervisor, each line at once; a terminal if what it prints goes to one."""

    def __init__(self, descriptor: int, terminal: bool = False) -> None:
        super().__init__(
            io.BufferedWriter(io.FileIO(descriptor, "w")),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal
