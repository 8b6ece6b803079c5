"""MadeFile: a file of the dumped machine that the server makes up from the dump."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class MadeFile:
    """A file that is in memory; implements `ports.RemoteFile`.

    No read goes beyond one of `parts`, the offsets, in order, where parts of the file begin:
    gdb asks for as much as a packet holds, even if it wants a header alone.
    """

    def __init__(self, content: bytes, parts: Sequence[int] = ()) -> None:
        self._content = content
        self._parts = parts
        self.size = len(content)

    def read(self, offset: int, count: int) -> bytes:
        """See `RemoteFile.read`."""
        number = bisect_right(self._parts, offset)
        if number < len(self._parts):
            count = min(count, self._parts[number] - offset)
        return self._content[offset : offset + count]

    def close(self) -> None:
        """There is nothing to release."""
