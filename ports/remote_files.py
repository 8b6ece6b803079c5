"""RemoteFiles: the few files of the dumped machine that a view provides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


class RefusedError(Exception):
    """A file must not be read; the message says in one line why, and what to do instead.

    It makes the client give up, which a missing file does not.
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
        """Close the file."""


@runtime_checkable
class MadeInSteps(Protocol):
    """A `RemoteFile` whose content takes long to make."""

    def prepare(self) -> Iterator[None]:
        """Make the content, a short step each time; to be done before anything is read."""


class RemoteFiles(Protocol):
    """Files by absolute path, made from the dump; never files of the host by default."""

    def open(self, path: str) -> RemoteFile | None:
        """Open a file, or return None when there is none of that path."""

    def read_link(self, path: str) -> str | None:
        """Return where a symbolic link points, or None when there is no such link."""
