"""RemoteFiles: the few files of the dumped machine a view can stand in for."""

from __future__ import annotations

from typing import Protocol


class RemoteFiles(Protocol):
    """Files by absolute path, made from the dump; never files of the host by default."""

    def read(self, path: str) -> bytes | None:
        """Return the file's contents, or None when there is no such file."""
