"""Outlet: standard output or error, for what another process prints."""

from __future__ import annotations

import contextlib
import os
import re
import select
from typing import TextIO

# Of what a terminal may obey, colours alone are let through. The rest is shown in plain characters:
# control characters of both kinds, and those that turn the direction of writing.
_UNUSUAL = re.compile(rb"[^\x20-\x7e\n\t]")
_OBEYED = re.compile(
    "(\x1b\\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_LONGEST = 1 << 16


class Outlet:
    """Takes lines and prints them, as far as somebody reads; never waits."""

    def __init__(self, stream: TextIO | None) -> None:
        """Print to a stream; without one, what comes is dropped."""
        self._stream = stream
        self._descriptor: int | None = None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # a stream in memory has none
                self._descriptor = stream.fileno()
        self._line = b""  # has no end yet
        self._waiting = b""

    @property
    def full(self) -> bool:
        """Whether lines wait for somebody to read what went before."""
        return bool(self._waiting)

    def wait_with(self, poll: select.poll) -> None:
        """Have `poll` say when `flush` will get on."""
        if self._descriptor is not None:
            poll.register(self._descriptor, select.POLLOUT)

    def write(self, data: bytes) -> None:
        """Take what was printed; a line goes on when it is whole."""
        lines, newline, self._line = (self._line + data).rpartition(b"\n")
        if len(self._line) > _LONGEST:
            lines, newline, self._line = lines + newline + self._line, b"\n", b""
        if self._descriptor is not None:
            self._waiting += printable(lines + newline)
            self.flush()
        elif self._stream is not None:
            self._stream.write(printable(lines + newline).decode())

    def flush(self) -> bool:
        """Print what waits; return whether all of it is."""
        while self._waiting and self._descriptor is not None:
            poll = select.poll()
            self.wait_with(poll)
            if not poll.poll(0):
                return False
            # A write of so much does not block now (pipe(7)), and whole lines stay whole.
            part = self._waiting[: select.PIPE_BUF]
            part = part[: part.rfind(b"\n") + 1] or part
            try:
                written = os.write(self._descriptor, part)
            except BlockingIOError:
                return False
            except OSError:  # nobody will read it, or the disk is full
                written = len(part)
            self._waiting = self._waiting[written:]
        return True


def printable(data: bytes) -> bytes:
    r"""Return text with what a terminal would obey as \x1b and the like, colours excepted."""
    if not _UNUSUAL.search(data):
        return data
    text = data.decode("utf-8", "backslashreplace")
    return _OBEYED.sub(lambda found: found[1] or _escaped(found[0]), text).encode()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
