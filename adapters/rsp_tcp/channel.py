"""Channel: a client's bytes in and out, over a socket or two pipe ends."""

from __future__ import annotations

import os
import select
import time

# The most that is taken from a client at a time, in bytes. Requests are short, and room
# for long ones would cost a microsecond each time.
RECEIVE_SIZE = 0x1000
# How long the next request is looked for before sleeping, in nanoseconds. A debugger mostly
# asks again at once, and to be woken on another processor takes longer than this.
_LINGER = 50_000
# After one that did not come in that time, so many are waited for asleep.
_PATIENCE = 15


class Channel:
    """Reads from one descriptor and writes to another, or the same; owns neither.

    With `idle_timeout`, in seconds, a client that for so long neither sends nor takes
    anything is given up by `TimeoutError`. Writes are under that limit only if the
    descriptor is non-blocking. All methods raise `OSError` when the client is lost.
    """

    def __init__(self, read_fd: int, write_fd: int, idle_timeout: float | None = None) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._idle = idle_timeout
        self._incoming = select.poll()
        self._incoming.register(read_fd, select.POLLIN)
        # With one processor for both, it is the client that needs it to send anything.
        self._lingers = len(os.sched_getaffinity(0)) > 1
        self._asleep = 0  # requests yet to be waited for without lingering

    def receive(self) -> bytes:
        """Wait for bytes and return them, none when the client has closed its end."""
        come = self._lingers and self._linger()
        while True:
            if self._idle is not None and not come:
                self._wait(self._read_fd, select.POLLIN)
            try:
                return os.read(self._read_fd, RECEIVE_SIZE)
            except BlockingIOError:
                come = False
                if self._idle is None:
                    self._wait(self._read_fd, select.POLLIN)

    def receive_now(self) -> bytes | None:
        """Return what `receive` does if that takes no waiting, else None."""
        try:
            return os.read(self._read_fd, RECEIVE_SIZE) if self._incoming.poll(0) else None
        except BlockingIOError:
            return None

    def send(self, data: bytes) -> None:
        """Send all of `data`, however slowly it is taken."""
        rest: bytes | memoryview = data
        while rest:
            try:
                sent = os.write(self._write_fd, rest)
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]
            except BlockingIOError:
                self._wait(self._write_fd, select.POLLOUT)

    def _linger(self) -> bool:
        """Return whether bytes come within a moment; others may have the processor in it."""
        if self._asleep:
            self._asleep -= 1
            return False
        end = time.perf_counter_ns() + _LINGER
        while not self._incoming.poll(0):
            if time.perf_counter_ns() > end:
                self._asleep = _PATIENCE
                return False
            os.sched_yield()
        return True

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(None if self._idle is None else self._idle * 1000):
            raise TimeoutError(f"idle for {self._idle:g} seconds")
