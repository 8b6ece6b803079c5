"""makedumpfile's flattened format: a stream of pieces, each with its place in the dump."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kdump_gdbserver.adapters.kdumpfile.header import ReadAt

MAGIC = b"makedumpfile"
_FIRST_PIECE = 4096  # makedumpfile's MAX_SIZE_MDF_HEADER
_PIECE = struct.Struct(">qq")  # offset in the dump, size
_END_MARK = b"\xff" * _PIECE.size
_PIECES_LOOKED_AT = 8192


class FlattenedFile:
    """Reads the beginning of a dump through its flattened form.

    Only the first pieces are looked at: headers and notes are written first, and
    reading all pieces' headers of a large dump costs what opening it costs.
    """

    def __init__(self, read_at: ReadAt, file_size: int) -> None:
        self._read_at = read_at
        self._file_size = file_size
        self._pieces: list[tuple[int, int, int]] = []  # offset in the dump, size, place
        self._rest = self._walk()

    @property
    def complete(self) -> bool:
        """Whether the stream has its end mark."""
        return self._read_at(max(self._file_size - _PIECE.size, 0), _PIECE.size) == _END_MARK

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the dump, fewer where the pieces looked at have a gap."""
        parts: list[bytes] = []
        while length:
            piece = self._find(offset)
            if piece is None:
                break
            start, size, place = piece
            wanted = min(length, start + size - offset)
            part = self._read_at(place + offset - start, wanted)
            parts.append(part)
            offset += len(part)
            length -= len(part)
            if len(part) < wanted:
                break
        return b"".join(parts)

    def _find(self, offset: int) -> tuple[int, int, int] | None:
        # A later piece overwrites an earlier one, as when the stream is put together.
        for piece in reversed(self._pieces):
            if piece[0] <= offset < piece[0] + piece[1]:
                return piece
        for piece in self._rest:
            if piece[0] <= offset < piece[0] + piece[1]:
                return piece
        return None

    def _walk(self) -> Iterator[tuple[int, int, int]]:
        place = _FIRST_PIECE
        for _ in range(_PIECES_LOOKED_AT):
            raw = self._read_at(place, _PIECE.size)
            if len(raw) < _PIECE.size:
                return
            offset, size = _PIECE.unpack(raw)
            if offset < 0 or size < 0:
                return
            piece = (offset, size, place + _PIECE.size)
            self._pieces.append(piece)
            place += _PIECE.size + size
            yield piece
