"""RemoteFiles: the few files of the dumped machine a view can stand in for."""

from __future__ import annotations

from typing import Protocol


class RefusedError(Exception):
    """A file must not be read; the message is one line that says why and what to do instead.

    A client is to give up what it is doing, which it does not for a file that is not there.
    """


class RemoteFile(Protocol):
    """A file that is open for reading; sizes and offsets are in bytes."""

    @property
    def size(self) -> int:
        """How long the file is."""

    def read(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset` on, none at the end.

        Raises `OSError`, and `RefusedError`.
        """

    def close(self) -> None:
        """Let the file go."""


class RemoteFiles(Protocol):
    """Files by absolute path, made from the dump; never files of the host by default."""

    def open(self, path: str) -> RemoteFile | None:
        """Open a file, or return None when there is none of that path."""

    def read_link(self, path: str) -> str | None:
        """Return where a symbolic link points, or None when there is no such link."""
