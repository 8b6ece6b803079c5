"""Channel: bytes from and to a client, over a socket or a pair of pipes."""

from __future__ import annotations

import os
import select
import threading
import time

# Bytes read from a client at a time. Requests are short, and a larger buffer would cost a
# microsecond each time.
RECEIVE_SIZE = 0x1000
# How long to poll for the next request before sleeping, in nanoseconds. A debugger mostly sends it
# at once, and a wake-up on another CPU takes longer than this.
_LINGER = 120_000
# After a poll in vain, this many requests are waited for without polling.
_PATIENCE = 15
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Channel:
    """Reads from one descriptor and writes to another, or the same; owns neither.

    With `idle_timeout`, in seconds, `TimeoutError` is raised if a client neither sends nor takes
    anything for that long. All methods but `send_meanwhile` raise `OSError` if the client is lost,
    and are for one thread only.
    """

    def __init__(self, read_fd: int, write_fd: int, idle_timeout: float | None = None) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._idle = idle_timeout
        # Standard output may be shared with other processes, so it must stay blocking. But a write
        # of up to PIPE_BUF bytes does not block after poll(2) has reported room.
        self._small_writes = idle_timeout is not None and os.get_blocking(write_fd)
        self._incoming = select.poll()
        self._incoming.register(read_fd, select.POLLIN)
        self._asleep = 0  # requests still to be waited for without polling
        self._sending = threading.Lock()
        self._listening = True  # the owner waits in `receive`
        self._turn = 0  # counts what came and went
        self._turn_seen = -1

    def receive(self) -> bytes:
        """Wait for bytes and return them; empty if the client has closed its end."""
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
        """Return what `receive` would return, or None if it would have to wait."""
        try:
            return os.read(self._read_fd, RECEIVE_SIZE) if self._incoming.poll(0) else None
        except BlockingIOError:
            return None

    def hung_up(self) -> bool:
        """Whether the client has closed its end, even if bytes from it are still unread."""
        poll = select.poll()
        poll.register(self._read_fd, select.POLLRDHUP)
        return any(events & _GONE for _, events in poll.poll(0))

    def broken(self) -> bool:
        """Whether nothing can be sent any more."""
        poll = select.poll()
        poll.register(self._write_fd, 0)  # errors and hang-ups are told unasked
        return bool(poll.poll(0))

    @property
    def left_at_work(self) -> int | None:
        """Some number if the client has closed its end while its owner is at work, else None.

        The number changes when something comes or goes. For another thread to look at.
        """
        return self._turn if not self._listening and self.hung_up() else None

    def send(self, data: bytes) -> None:
        """Send all of `data`, however slowly the client takes it."""
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
        """Send a few bytes if the owner has been working since the last call.

        It has if nothing came or went since then and it is not in `receive`. This is for another
        thread to call from time to time. It neither blocks nor raises `OSError`.
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
        except OSError:  # the owner gets it, too
            pass
        finally:
            self._sending.release()

    def end(self) -> None:
        """Make `send_meanwhile` do nothing any more: the descriptors will be closed."""
        with self._sending:
            self._listening = True

    def _linger(self) -> bool:
        """Poll for a moment and return whether bytes have arrived; other threads may run."""
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
        if yielded == 1:  # to the client itself: both are on one CPU
            self._asleep = _PATIENCE
        return True

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(None if self._idle is None else self._idle * 1000):
            raise TimeoutError(f"idle for {self._idle:g} seconds")
