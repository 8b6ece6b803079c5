"""DumpFiles: the ownership of a dump's file descriptors; whether the files are still the same."""

from __future__ import annotations

import os
import stat
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdump_gdbserver.domain.errors import FaultReason, MemoryFault

# Linux stamps files with a clock that ticks 100 times a second or more often (CONFIG_HZ).
_TICK = 20_000_000  # nanoseconds


@dataclass(frozen=True, slots=True)
class Change:
    """How a file is no longer the one that was opened."""

    reason: FaultReason
    words: str


class DumpFiles:
    """Descriptors that stay open as long as anything reads from them.

    Contexts and address spaces hold a reference: a number that was closed may belong to
    another file by the next read.

    Once a file has changed, every read is an error for ever: its bytes would be those of two
    dumps, and libkdumpfile may keep zeros in its cache from when the file was shorter. The kernel
    sets a new ctime before it changes a byte, and no user can set an old one; so bytes are the
    dump's if the ctime is the same after they were read. What a process writes through a mapping
    made before the file was opened is not seen.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        """Take the descriptors over, before anything is read from them."""
        self._descriptors = tuple(descriptors)
        self._more: list[int] = []
        self._close = weakref.finalize(self, _close_all, self._descriptors, self._more)
        self._close.atexit = False  # a thread may still read then
        self._opened = [_settled(file) for file in self._descriptors]
        self._names = [_names(file, status) for file, status in self._each()]
        # ctimes; for readers that compare before they ask, as most find no change
        self.times = [status.st_ctime_ns for status in self._opened]
        self.changed: Change | None = None  # as far as somebody has noticed
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> int:
        self.require_open()
        return self._descriptors[index]

    def require_open(self) -> None:
        """Raise `ValueError` when they are closed."""
        if not self._close.alive:
            raise ValueError("the dump is closed")

    def keep(self, descriptor: int) -> None:
        """Take over a descriptor that stays open as long, of a file that is nobody else's."""
        self._more.append(descriptor)

    def change(self) -> Change | None:
        """Return how a file has changed since it was opened, None when none has."""
        for index, file in enumerate(self._descriptors):
            if os.fstat(file).st_ctime_ns != self.times[index]:
                return self._look(index)
        return self.changed

    def require_unchanged(self, address: int) -> None:
        """Raise `MemoryFault` for `address` when a file has changed since it was opened.

        To be called when bytes have been read, and before anything is made of them.
        """
        change = self.change()
        if change is not None:
            words = f"{change.words} while it was in use; start the server again"
            raise MemoryFault(address, change.reason, words)

    def _each(self) -> list[tuple[int, os.stat_result]]:
        return list(zip(self._descriptors, self._opened, strict=True))

    def _look(self, index: int) -> Change | None:
        """Tell what a new ctime means. A new name, owner or mode gives one, too, and is no change.

        The time it was opened at stays the one to compare with when there is a change.
        """
        with self._lock:
            if self.changed is not None:
                return self.changed
            file, before = self._descriptors[index], self._opened[index]
            now = os.fstat(file)
            names = _names(file, now)
            if now.st_size < before.st_size:
                reason, words = FaultReason.TRUNCATED, "the file has become shorter"
            elif now.st_size > before.st_size:
                reason, words = FaultReason.CHANGED, "the file has become longer"
            elif now.st_mtime_ns != before.st_mtime_ns or names == self._names[index]:
                reason, words = FaultReason.CHANGED, "the file was written to"
            else:
                self._names[index], self.times[index] = names, now.st_ctime_ns
                return None
            self.changed = Change(reason, words)
            return self.changed

    def close(self) -> None:
        """Close them all; doing it again does nothing."""
        self._close()


def _settled(file: int) -> os.stat_result:
    """Return the status of a file at a time from which on every change gives it a new ctime."""
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode):
        while 0 <= (age := time.time_ns() - status.st_ctime_ns) < _TICK:
            time.sleep((_TICK - age) / 1e9)
            status = os.fstat(file)
    return status


def _names(file: int, status: os.stat_result) -> tuple[object, ...]:
    """Return what gives a file a new ctime when it changes, and is no content."""
    try:
        name = Path(f"/proc/self/fd/{file}").readlink()
    except OSError:  # no /proc
        name = Path()
    return name, status.st_nlink, status.st_mode, status.st_uid, status.st_gid


def _close_all(descriptors: Sequence[int], more: Sequence[int]) -> None:
    for descriptor in (*descriptors, *more):
        os.close(descriptor)
