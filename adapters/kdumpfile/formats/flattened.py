"""makedumpfile's flattened format: a stream of pieces, each with its place in the dump."""

from __future__ import annotations

import bisect
import struct
from array import array

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import ReadAt

MAGIC = b"makedumpfile"
_FIRST_PIECE = 4096  # makedumpfile's MAX_SIZE_MDF_HEADER
_PIECE = struct.Struct(">qq")  # offset in the dump, size
_END_MARK = b"\xff" * _PIECE.size
_FEWEST = 64  # pieces taken in at a time; each time twice as many


class FlattenedFile:
    """Reads a dump through its flattened form.

    Pieces are looked up only as far as needed: headers and notes come first in the stream, and
    looking at every piece of a large dump takes as long as opening it. They may be in any order;
    of two that begin at one place the last counts.
    """

    def __init__(self, read_at: ReadAt, file_size: int) -> None:
        self._read_at = read_at
        self.file_size = file_size
        self._next = _FIRST_PIECE
        # Of each piece, sorted by the first: offset in the dump, size, place in the file.
        self._starts, self._sizes, self._places = array("q"), array("q"), array("q")

    @property
    def complete(self) -> bool:
        """Whether the stream has its end mark."""
        return self._read_at(max(self.file_size - _PIECE.size, 0), _PIECE.size) == _END_MARK

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
        while (found := self._look_up(offset)) is None and self._take_some():
            pass
        return found

    def _look_up(self, offset: int) -> tuple[int, int] | None:
        index = bisect.bisect_right(self._starts, offset) - 1
        if index < 0:
            return None
        start, size = self._starts[index], self._sizes[index]
        at = self._places[index] + offset - start
        return (at, start + size - offset) if offset < start + size else None

    def _take_some(self) -> bool:
        """Take more pieces of the stream in; return whether there were any."""
        found: dict[int, tuple[int, int]] = {}
        for _ in range(max(len(self._starts), _FEWEST)):
            raw = self._read_at(self._next, _PIECE.size)
            if len(raw) < _PIECE.size:
                break
            offset, size = _PIECE.unpack(raw)
            if offset < 0 or size <= 0:  # the end, or damage: libkdumpfile refuses empty ones
                break
            found[offset] = size, self._next + _PIECE.size
            self._next += _PIECE.size + size
        if not found:
            return False
        known = zip(self._sizes, self._places, strict=True)
        pieces = dict(zip(self._starts, known, strict=True)) | found
        starts = sorted(pieces)
        self._starts = array("q", starts)
        self._sizes = array("q", [pieces[start][0] for start in starts])
        self._places = array("q", [pieces[start][1] for start in starts])
        return True
