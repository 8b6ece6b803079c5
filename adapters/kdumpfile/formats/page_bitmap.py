"""The bitmap of dumped pages, read from the file as it is needed."""

from __future__ import annotations

from array import array

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import ReadAt

_BLOCK = 4096  # bytes of the bitmap between two sums, and read at a time
_BITS = 8 * _BLOCK
_PIECE = 1 << 20  # bytes read at a time to count
_NOTHING = bytes(_PIECE)
# Blocks that are kept: 8 MiB of them cover 256 GiB of memory.
_KEPT = 2048


class PageBitmap:
    """Bits by frame number, lowest bit first; its size in memory is the same for all dumps.

    A machine with 16 TiB has 512 MiB of bitmap. Bits cut off the file since it was opened count as
    set: reading the page then says what is wrong.
    """

    def __init__(self, read_at: ReadAt, at: int, size: int) -> None:
        """Take the bitmap of `size` bytes at offset `at`; all of it is read once."""
        self._read_at = read_at
        self._at = at
        self._blocks: dict[int, bytes] = {}
        self._sums, self._size = self._count(size)

    def __len__(self) -> int:
        """Return how many bits the file has."""
        return self._size * 8

    def is_set(self, frame: int) -> bool:
        """Whether the bit of a frame is set; there must be such a bit."""
        block = self._blocks.get(frame // _BITS)
        if block is None:
            block = self._load(frame // _BITS)
        return bool(block[frame % _BITS >> 3] >> (frame & 7) & 1)

    def run(self, frame: int, limit: int) -> int:
        """Return how many bits from that of `frame` on are set, of the next `limit` ones.

        There must be bits up to that.
        """
        found = 0
        while found < limit:
            first = (frame + found) % _BITS
            some = min(limit - found, _BITS - first)
            block = self._load((frame + found) // _BITS)
            bits = int.from_bytes(block[first >> 3 : (first + some + 7) >> 3], "little")
            clear = ~(bits >> (first & 7)) & ((1 << some) - 1)
            if clear:
                return found + (clear & -clear).bit_length() - 1
            found += some
        return found

    def rank(self, frame: int) -> int:
        """Return how many bits before that of `frame` are set."""
        if frame >= len(self):
            return self._sums[-1]
        index, rest = divmod(frame, _BITS)
        bits = int.from_bytes(self._load(index)[: (rest >> 3) + 1], "little")
        return self._sums[index] + (bits & ((1 << rest) - 1)).bit_count()

    def _load(self, index: int) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            block = self._read_at(self._at + index * _BLOCK, _BLOCK).ljust(_BLOCK, b"\xff")
            if len(self._blocks) >= _KEPT:
                self._blocks.clear()
            self._blocks[index] = block
        return block

    def _count(self, size: int) -> tuple[array[int], int]:
        """Return the number of bits before each block, the sum last, and the bytes there are."""
        sums = array("Q", [0])
        there = 0
        while there < size:
            piece = self._read_at(self._at + there, min(_PIECE, size - there))
            blocks = -(-len(piece) // _BLOCK)
            if piece == _NOTHING:
                sums.extend([sums[-1]] * blocks)
            else:
                for start in range(0, len(piece), _BLOCK):
                    bits = int.from_bytes(piece[start : start + _BLOCK], "little")
                    sums.append(sums[-1] + bits.bit_count())
            there += len(piece)
            if len(piece) < _PIECE:
                break
        return sums, there
