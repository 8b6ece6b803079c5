"""The process that the user starts: it has the terminal, the signals and the deadlines.

It never looks into a dump. A process of its own does, `worker`: when that crashes, hangs or takes
too much, this one says so in one line, and it starts another one for the next client.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdump_gdbserver.adapters.rsp_tcp.transport.listeners import Listeners
from kdump_gdbserver.adapters.sandbox.limits import lift_cpu_limit
from kdump_gdbserver.cli import console, worker
from kdump_gdbserver.cli.console import Place
from kdump_gdbserver.cli.listening import listen
from kdump_gdbserver.cli.outlet import Outlet, printable
from kdump_gdbserver.cli.worker import (
    DOWNLOAD,
    KEEP,
    LISTEN,
    MESSAGE_SIZE,
    READY,
    STUCK,
    Ends,
    Front,
)
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.ports.symbol_finder import WantedKernel

# Seconds that opening a dump may take, on however slow a disk.
MAX_OPENING = 600
# Workers that may die while they serve, in so many seconds.
MAX_DEATHS, DEATHS_WITHIN = 5, 60
# Seconds that a worker has to hang up on its clients, and to end once it has hung up on us.
_GRACE = 0.4
# Seconds that a process may take to vanish after SIGKILL; one that waits for a disk takes longer.
_BURIAL = 0.3
_PIPE_SIZE = 1 << 16
_MOST_NOISE = 200
EXIT_UNUSABLE = 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Deaths:
    """How often workers have died lately; there is a limit."""

    def __init__(self, most: int = MAX_DEATHS, within: float = DEATHS_WITHIN) -> None:
        self.most, self.within = most, within
        self._times: deque[float] = deque(maxlen=most)

    def another(self, now: float) -> bool:
        """Take note of a death; return whether a fresh worker may be started."""
        self._times.append(now)
        return len(self._times) < self.most or now - self._times[0] > self.within


class _ToldToEnd(KeyboardInterrupt):
    """Not ctrl-C, by which the user may mean one thing that takes long."""


@dataclass
class _Worker:
    """A worker process, and this process's ends of what leads to it."""

    pid: int
    control: socket.socket
    output: int
    errors: int
    noise: int
    kept: int
    deadline: float | None
    serving: bool = False
    hung_up: bool = False
    status: int | None = None  # as of waitpid(2), when it has ended
    words: str = ""  # the last of what C libraries printed
    open_ends: set[int] = field(default_factory=set)

    def kill(self, number: int) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Whether it has; `status` says how."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None


class Supervisor:
    """Starts workers, one after the other, until there is nothing more to serve."""

    def __init__(
        self,
        options: argparse.Namespace,
        work: Callable[[Front], int],
        *,
        opening: float = MAX_OPENING,
        deaths: Deaths | None = None,
    ) -> None:
        """`work` is what a worker does; it returns the exit status."""
        self._options = options
        self._work = work
        self._opening = opening
        self._deaths = deaths or Deaths()
        self._file = options.file[0]
        self._listeners = Listeners()
        self._place: Place | None = None
        self._told_to_end = False
        self._downloading = False
        self._outputs = Outlet(sys.stdout), Outlet(sys.stderr)

    def run(self) -> int:
        """Serve; return the exit status."""
        with self._signals() as woken:
            try:
                before = self._versions_of_files()
                first = True
                while True:
                    process = self._start(first)
                    try:
                        status = self._watch(process, woken)
                    finally:
                        self._bury(process, woken)
                    if status is None:
                        status = self._after_death(process, before)
                    if status is not None:
                        return status
                    first = False
            finally:
                self._listeners.close_listeners()
                self._listeners.remove_files()

    # --- one worker

    def _start(self, first: bool) -> _Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes = [os.pipe() for _ in range(3)]
        kept = os.memfd_create("kept", os.MFD_CLOEXEC)
        gc.freeze()  # so that the collector's marks do not copy what both have
        parent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_ENDING, signal.SIGCHLD))
        pid = os.fork()
        if pid == 0:
            ends = Ends(theirs.detach(), kept, *(write for _, write in pipes))
            worker.run(self._work, ends, self._options, parent, first)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        for _, write in pipes:
            os.close(write)
        output, errors, noise = (read for read, _ in pipes)
        deadline = time.monotonic() + self._opening
        process = _Worker(pid, ours, output, errors, noise, kept, deadline)
        process.open_ends = {ours.fileno(), output, errors, noise}
        return process

    def _watch(self, process: _Worker, woken: socket.socket) -> int | None:
        """Return the exit status when all is over, None when the worker has died."""
        while not self._told_to_end:
            if process.has_ended():
                self._take_the_rest(process, woken)
                status = process.status or 0
                if not os.WIFEXITED(status) or os.WEXITSTATUS(status) == STUCK:
                    return None
                return os.WEXITSTATUS(status)
            if process.deadline is not None and time.monotonic() >= process.deadline:
                process.kill(signal.SIGKILL)
                if not process.hung_up:
                    return self._fail(f"opening it has not come to an end in {self._opening:g} s")
                self._wait_for(process, woken, _BURIAL)
            elif not self._move(process, woken):
                return EXIT_UNUSABLE
        if process.serving:
            process.kill(signal.SIGTERM)
            self._wait_for(process, woken, _GRACE)
            if process.has_ended():
                self._take_the_rest(process, woken)
        return 0

    def _move(self, process: _Worker, woken: socket.socket) -> bool:
        """Wait for something to happen, and see to it; return False if that ends all."""
        ready = self._ready(process, woken)
        self._pass_on(process, ready)
        return process.control.fileno() not in ready or self._answer(process)

    def _ready(self, process: _Worker, woken: socket.socket) -> set[int]:
        """Wait; return the descriptors on which something can be done."""
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        for outlet, end in zip(self._outputs, (process.output, process.errors), strict=True):
            if outlet.full:
                outlet.wait_with(poll)
            elif end in process.open_ends:
                poll.register(end, select.POLLIN)
        for end in (process.noise, process.control.fileno()):
            if end in process.open_ends:
                poll.register(end, select.POLLIN)
        timeout = None
        if process.deadline is not None:
            timeout = max(process.deadline - time.monotonic(), 0) * 1000 + 1
        ready = {number for number, _ in poll.poll(timeout)}
        if woken.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(_PIPE_SIZE)
        return ready

    def _pass_on(self, process: _Worker, ready: set[int]) -> None:
        """Print what the worker has printed, as far as somebody takes it."""
        for outlet, end in zip(self._outputs, (process.output, process.errors), strict=True):
            if outlet.full:
                outlet.flush()
            elif end in ready:
                outlet.write(_read(process, end))
        if process.noise in ready:
            heard = _read(process, process.noise).decode("utf-8", "backslashreplace")
            process.words = (process.words + heard)[-_MOST_NOISE:]

    def _take_the_rest(self, process: _Worker, woken: socket.socket) -> None:
        """Print what a worker has left when it ended; not all of it if told to end meanwhile."""
        process.open_ends.discard(process.control.fileno())
        process.deadline = None
        while process.open_ends or any(outlet.full for outlet in self._outputs):
            if self._told_to_end:
                now = time.monotonic()
                process.deadline = process.deadline or now + _BURIAL
                if now >= process.deadline:
                    return
            self._pass_on(process, self._ready(process, woken))

    def _answer(self, process: _Worker) -> bool:
        """Do what the worker asks for; return False, with an error said, if that cannot be done."""
        try:
            message = process.control.recv(MESSAGE_SIZE)
        except ConnectionError:
            message = b""
        if not message:  # it is about to end
            process.open_ends.discard(process.control.fileno())
            process.hung_up, process.deadline = True, time.monotonic() + _GRACE
            return True
        lift_cpu_limit(process.pid)
        if message == LISTEN:
            try:
                self._hand_over(process)
            except InputError as error:
                console.say_error(str(error))
                return False
        elif message.startswith(DOWNLOAD):
            self._download(process, message.removeprefix(DOWNLOAD))
        elif message.startswith(KEEP):
            self._keep(process, message.removeprefix(KEEP))
        elif message == READY:
            process.serving, process.deadline = True, None
        return True

    def _hand_over(self, process: _Worker) -> None:
        """Give the worker the sockets; raises `InputError` when they cannot be had."""
        if self._place is None:
            self._place = listen(self._listeners, self._options)
        numbers = [listener.fileno() for listener in self._listeners.listening]
        with contextlib.suppress(OSError):  # its end is noticed elsewhere
            socket.send_fds(process.control, [self._place.encode()], numbers)
        if self._options.once:  # the worker lets one in, and then nobody
            self._listeners.close_listeners()

    def _download(self, process: _Worker, wanted: bytes) -> None:
        """Download a vmlinux for the worker; what it asks for is a build-id or nothing."""
        from kdump_gdbserver.cli.symbol_choice import download

        build_id, _, machine = wanted.decode("ascii", "replace").partition(" ")
        path, words, began = "", "debuginfod was interrupted", time.monotonic()
        with contextlib.suppress(KeyboardInterrupt, ValueError):
            self._downloading = True
            try:
                found, words = download(WantedKernel(build_id, int(machine)))
                path = found.path if found is not None else ""
            finally:
                self._downloading = False
        if process.deadline is not None:
            process.deadline += time.monotonic() - began
        if not self._told_to_end:
            self._reply(process, f"{path}\0{words}".encode("utf-8", "surrogateescape"))

    def _keep(self, process: _Worker, name: bytes) -> None:
        """Keep what the worker has made, under a name that the store takes; it is not looked at."""
        from kdump_gdbserver.adapters.symbol_cache.directory import MAX_CONTENT, SymbolCache

        store = SymbolCache.of_user(os.environ)
        size = os.fstat(process.kept).st_size
        if store is not None and size <= MAX_CONTENT and not self._options.no_cache:
            store.save(name.decode("ascii", "replace"), os.pread(process.kept, size, 0))
        self._reply(process, b"kept")

    def _reply(self, process: _Worker, answer: bytes) -> None:
        with contextlib.suppress(OSError):  # its end is noticed elsewhere
            process.control.send(answer[:MESSAGE_SIZE], socket.MSG_DONTWAIT)

    def _wait_for(self, process: _Worker, woken: socket.socket, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not process.has_ended() and time.monotonic() < deadline:
            process.deadline = deadline
            self._pass_on(process, self._ready(process, woken))

    def _bury(self, process: _Worker, woken: socket.socket) -> None:
        """See to it that a worker has ended, and forget it."""
        process.kill(signal.SIGKILL)
        self._wait_for(process, woken, _BURIAL)
        process.control.close()
        for end in (process.output, process.errors, process.noise, process.kept):
            os.close(end)

    # --- what came of it

    def _after_death(self, process: _Worker, before: Sequence[Any]) -> int | None:
        """Say that a worker has died; return the exit status, None to start another one."""
        status = process.status or 0
        if os.WIFSIGNALED(status):
            cause = self._cause(os.WTERMSIG(status), process.words)
        else:
            cause = "it was still at work for a client that had long left"
        if not process.serving:
            return self._fail(cause)
        options = self._options
        again = f"the process that serves {self._file} has died"
        if options.once or options.stdio:
            return _say_error(f"{again}: {cause}")
        if not self._deaths.another(time.monotonic()):
            often = f"{self._deaths.most} times in {self._deaths.within:g} s"
            return _say_error(f"{again} {often}, the last time so: {cause}")
        if self._versions_of_files() != before:
            return _say_error(f"{again} ({cause}), and the file is another one by now")
        console.say_warning(
            f"{again} ({cause}); its clients were hung up on, and a fresh one serves the next"
        )
        return None

    def _cause(self, number: int, words: str) -> str:
        if number == signal.SIGXCPU:
            return "opening it has taken more computing than it may"
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        if number == signal.SIGKILL:
            return f"something killed it ({name}); the kernel does that where memory runs out"
        said = " ".join(printable(words.encode()).decode().split())
        return f"the C library crashed ({name}{': ' if said else ''}{said})"

    def _fail(self, cause: str) -> int:
        return _say_error(
            f"{self._file}: {cause}; the dump may be damaged, or made to do that: copy it again, or"
            " try another libkdumpfile with --libkdumpfile"
        )

    def _versions_of_files(self) -> list[tuple[int, ...]]:
        """Return what tells the files of now from others that may come in their place."""
        versions: list[tuple[int, ...]] = []
        for path in self._options.file:
            try:
                status = Path(path).stat()
            except (OSError, ValueError):
                versions.append((0,))
            else:
                identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                versions.append(identity)
        return versions

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Have signals noted, and something to be read from what this gives."""
        waker, woken = socket.socketpair()
        waker.setblocking(False)
        woken.setblocking(False)
        before = {number: signal.getsignal(number) for number in (*_ENDING, signal.SIGCHLD)}
        for number in _ENDING:
            if before[number] is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # it wakes, that is all
        was = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(was)
            for number, handler in before.items():
                signal.signal(number, handler)
            waker.close()
            woken.close()

    def _end(self, number: int, frame: Any) -> None:
        if not self._downloading:
            self._told_to_end = True
        elif number == signal.SIGINT:  # goes on without
            raise KeyboardInterrupt
        else:
            self._told_to_end = True
            raise _ToldToEnd


def _read(process: _Worker, end: int) -> bytes:
    data = os.read(end, _PIPE_SIZE)
    if not data:
        process.open_ends.discard(end)
    return data


def _say_error(message: str) -> int:
    console.say_error(message)
    return EXIT_UNUSABLE
