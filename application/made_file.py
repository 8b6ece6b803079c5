"""MadeFile: a file of the dumped machine that the server makes up from the dump."""

from __future__ import annotations


class MadeFile:
    """A file that is in memory; implements `ports.RemoteFile`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, offset: int, count: int) -> bytes:
        """See `RemoteFile.read`."""
        return self._content[offset : offset + count]

    def close(self) -> None:
        """There is nothing to release."""
