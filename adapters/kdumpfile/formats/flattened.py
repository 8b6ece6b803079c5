"""makedumpfile's flattened format: a stream of pieces, each with its place in the dump."""

from __future__ import annotations

import bisect
import struct

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import ReadAt

MAGIC = b"makedumpfile"
_FIRST_PIECE = 4096  # makedumpfile's MAX_SIZE_MDF_HEADER
_PIECE = struct.Struct(">qq")  # offset in the dump, size
_END_MARK = b"\xff" * _PIECE.size


class FlattenedFile:
    """Reads a dump through its flattened form.

    Pieces are looked up only as far as needed: headers and notes come first in the stream, and
    looking at every piece of a large dump takes as long as opening it.
    """

    def __init__(self, read_at: ReadAt, file_size: int) -> None:
        self._read_at = read_at
        self._file_size = file_size
        self._next = _FIRST_PIECE
        self._starts: list[int] = []
        self._pieces: dict[int, tuple[int, int]] = {}  # offset in the dump: size, place

    @property
    def complete(self) -> bool:
        """Whether the stream has its end mark."""
        return self._read_at(max(self._file_size - _PIECE.size, 0), _PIECE.size) == _END_MARK

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the dump, fewer where the stream does not have them."""
        parts: list[bytes] = []
        while length > 0:
            piece = self._find(offset)
            if piece is None:
                break
            place, available = piece
            wanted = min(length, available)
            part = self._read_at(place, wanted)
            parts.append(part)
            offset += len(part)
            length -= len(part)
            if len(part) < wanted:
                break
        return b"".join(parts)

    def _find(self, offset: int) -> tuple[int, int] | None:
        """Return the place of a byte in the file, and how many follow in the same piece."""
        while (found := self._look_up(offset)) is None and self._walk():
            pass
        return found

    def _look_up(self, offset: int) -> tuple[int, int] | None:
        index = bisect.bisect_right(self._starts, offset) - 1
        if index < 0:
            return None
        start = self._starts[index]
        size, place = self._pieces[start]
        return (place + offset - start, start + size - offset) if offset < start + size else None

    def _walk(self) -> bool:
        """Take one more piece of the stream in; return whether there was one."""
        raw = self._read_at(self._next, _PIECE.size)
        if len(raw) < _PIECE.size:
            return False
        offset, size = _PIECE.unpack(raw)
        if offset < 0 or size < 0:
            return False
        if offset not in self._pieces:
            bisect.insort(self._starts, offset)
        self._pieces[offset] = size, self._next + _PIECE.size
        self._next += _PIECE.size + size
        return True
