"""DumpFiles: the ownership of a dump's file descriptors."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence


class DumpFiles:
    """Descriptors that stay open as long as anything reads from them.

    Contexts and address spaces hold a reference: a number that was closed may belong to
    another file by the next read.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        """Take the descriptors over."""
        self._descriptors = tuple(descriptors)
        self._sizes = [(file, os.lseek(file, 0, os.SEEK_END)) for file in self._descriptors]
        self._close = weakref.finalize(self, _close_all, self._descriptors)
        self._close.atexit = False  # a thread may still read then

    def __getitem__(self, index: int) -> int:
        self.require_open()
        return self._descriptors[index]

    def require_open(self) -> None:
        """Raise `ValueError` when they are closed."""
        if not self._close.alive:
            raise ValueError("the dump is closed")

    def have_shrunk(self) -> bool:
        """Whether a file is shorter than when it was opened.

        libkdumpfile keeps reading at its own positions, and reads zeros for missing bytes. lseek(2)
        is the cheapest way to ask.
        """
        return any(os.lseek(file, 0, os.SEEK_END) < size for file, size in self._sizes)

    def close(self) -> None:
        """Close them all; doing it again does nothing."""
        self._close()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
