"""Channel: a client's bytes in and out, over a socket or two pipe ends."""

from __future__ import annotations

import os
import select
import threading
import time

# The most that is taken from a client at a time, in bytes. Requests are short, and room
# for long ones would cost a microsecond each time.
RECEIVE_SIZE = 0x1000
# How long the next request is looked for before sleeping, in nanoseconds. A debugger mostly
# asks again at once, and to be woken on another processor takes longer than this.
_LINGER = 120_000
# After one for which that was in vain, so many are waited for asleep.
_PATIENCE = 15
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Channel:
    """Reads from one descriptor and writes to another, or the same; owns neither.

    With `idle_timeout`, in seconds, a client that for so long neither sends nor takes
    anything is given up by `TimeoutError`. All methods but `send_meanwhile` raise `OSError` when
    the client is lost, and are for one thread.
    """

    def __init__(self, read_fd: int, write_fd: int, idle_timeout: float | None = None) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._idle = idle_timeout
        # Standard output blocks, and making it non-blocking would surprise those who share it.
        # But so many bytes do not block once poll(2) has said that there is room.
        self._small_writes = idle_timeout is not None and os.get_blocking(write_fd)
        self._incoming = select.poll()
        self._incoming.register(read_fd, select.POLLIN)
        self._asleep = 0  # requests yet to be waited for without lingering
        self._sending = threading.Lock()
        self._listening = True  # whether the owner waits in `receive`
        self._turn = 0  # how often something came or went
        self._turn_seen = -1

    def receive(self) -> bytes:
        """Wait for bytes and return them, none when the client has closed its end."""
        self._listening = True
        come = self._linger()
        while True:
            if self._idle is not None and not come:
                self._wait(self._read_fd, select.POLLIN)
            try:
                data = os.read(self._read_fd, RECEIVE_SIZE)
            except BlockingIOError:
                come = False
                if self._idle is None:
                    self._wait(self._read_fd, select.POLLIN)
            else:
                self._turn += 1
                self._listening = False
                return data

    def receive_now(self) -> bytes | None:
        """Return what `receive` does if that takes no waiting, else None."""
        try:
            return os.read(self._read_fd, RECEIVE_SIZE) if self._incoming.poll(0) else None
        except BlockingIOError:
            return None

    def hung_up(self) -> bool:
        """Whether the client has closed its end, though bytes of it may still be unread."""
        poll = select.poll()
        poll.register(self._read_fd, select.POLLRDHUP)
        return any(events & _GONE for _, events in poll.poll(0))

    def send(self, data: bytes) -> None:
        """Send all of `data`, however slowly it is taken."""
        with self._sending:
            self._turn += 1
            rest: bytes | memoryview = data
            while rest:
                if self._small_writes:
                    self._wait(self._write_fd, select.POLLOUT)
                    rest = memoryview(rest)
                try:
                    part = rest[: select.PIPE_BUF] if self._small_writes else rest
                    sent = os.write(self._write_fd, part)
                    if sent == len(rest):
                        return
                    rest = memoryview(rest)[sent:]
                except BlockingIOError:
                    self._wait(self._write_fd, select.POLLOUT)

    def send_meanwhile(self, data: bytes) -> None:
        """Send a few bytes if nothing has come or gone since the last call, and not in `receive`.

        That is, if the owner of the channel has been at work on what it has received. For another
        thread to call now and then: it neither waits nor raises an error.
        """
        turn, seen = self._turn, self._turn_seen
        self._turn_seen = turn
        if self._listening or turn != seen or not self._sending.acquire(blocking=False):
            return
        try:
            if not self._listening and self._turn == turn:
                poll = select.poll()
                poll.register(self._write_fd, select.POLLOUT)
                if poll.poll(0):
                    os.write(self._write_fd, data)
        except OSError:  # the owner will meet it, too
            pass
        finally:
            self._sending.release()

    def end(self) -> None:
        """Send nothing meanwhile from now on: the descriptors are to be closed."""
        with self._sending:
            self._listening = True

    def _linger(self) -> bool:
        """Return whether bytes come within a moment; others may have the processor in it."""
        if self._asleep:
            self._asleep -= 1
            return False
        end = time.perf_counter_ns() + _LINGER
        yielded = 0
        while not self._incoming.poll(0):
            if time.perf_counter_ns() > end:
                self._asleep = _PATIENCE
                return False
            os.sched_yield()
            yielded += 1
        if yielded == 1:  # to the client itself, which has no other processor
            self._asleep = _PATIENCE
        return True

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(None if self._idle is None else self._idle * 1000):
            raise TimeoutError(f"idle for {self._idle:g} seconds")
