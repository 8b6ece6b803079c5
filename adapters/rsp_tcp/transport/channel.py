"""Channel: a client's bytes in and out, over a socket or two pipe ends."""

from __future__ import annotations

import contextlib
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
# What a client passes over while it waits for a packet, whether it acknowledges or not.
_SIGN_OF_LIFE = b"+"
# gdb (since 7.2) says so in its first packet, and nobody else.
_SAID_BY_GDB = b"qRelocInsn+"


class Channel:
    """Reads from one descriptor and writes to another, or the same; owns neither.

    With `idle_timeout`, in seconds, a client that for so long neither sends nor takes
    anything is given up by `TimeoutError`. All methods but `sign_of_life` raise `OSError` when
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
        self._listening = True  # nothing is due to the client
        self._turn = 0  # how often something came or went
        self._turn_seen = -1
        self._early: bytes | None = b""  # what has come before `begin`

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

    def sign_of_life(self) -> None:
        """Send a `+` if the client has waited for an answer since the last call of this.

        For another thread to call now and then. gdb takes two seconds of silence for a
        lost packet, and after six goes on without it, out of step with the answers.
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
                    os.write(self._write_fd, _SIGN_OF_LIFE)
        except OSError:  # whoever waits for the answer will hear of it
            pass
        finally:
            self._sending.release()

    def early_sign_of_life(self) -> None:
        """Send a `+` before the first `receive`, if the client waits for an answer and is gdb.

        For another thread, as `sign_of_life`. gdb repeats its first packet after two seconds,
        and would take the second answer to it for that to its second packet.
        """
        with self._sending, contextlib.suppress(OSError):
            if self._early is None:
                return
            if len(self._early) < RECEIVE_SIZE:
                self._early += self.receive_now() or b""
            if _SAID_BY_GDB in self._early and len(self._early) < RECEIVE_SIZE:
                os.write(self._write_fd, _SIGN_OF_LIFE)

    def begin(self) -> bytes:
        """Return what the client has sent before it was first listened to, mostly nothing."""
        with self._sending:
            early, self._early = self._early, None
        return early or b""

    def end(self) -> None:
        """Send no more signs of life: the descriptors are to be closed."""
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
