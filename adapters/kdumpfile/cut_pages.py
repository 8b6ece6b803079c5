"""The pages that a truncated kdump-compressed file has lost."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.header import Bounds, ReadAt
from kdump_gdbserver.domain.errors import FaultReason

PAGE_DESCRIPTOR = struct.Struct("<QIIQ")  # offset, size, flags, page_flags
_CHUNK = 512  # bytes of the bitmap between two sums


class CutPages:
    """Tells for each page whether its data is behind the end of the file.

    libkdumpfile takes what is behind the end for zeros: of a page that was stored
    without compression it would show 4 KiB of them.
    """

    def __init__(
        self,
        read_at: ReadAt,
        *,
        bitmap: bytes,
        descriptors_at: int,
        page_size: int,
        frames: tuple[int, int, int],
    ) -> None:
        """Take the bitmap of dumped pages and where their descriptors begin (file offset)."""
        self._read_at = read_at
        self._bitmap = bitmap
        self._descriptors_at = descriptors_at
        self._page_size = page_size
        self.first, self.end, _ = frames
        self._sums = [0]
        for start in range(0, len(bitmap), _CHUNK):
            chunk = int.from_bytes(bitmap[start : start + _CHUNK], "little")
            self._sums.append(self._sums[-1] + chunk.bit_count())
        self._skipped = self._rank(self.first)

    def available(self, address: int, length: int) -> int:
        """Return how many bytes from `address` on precede the first lost page."""
        end = address + length
        at = address
        while at < end and not self.is_lost(at // self._page_size):
            at += self._page_size - at % self._page_size
        return min(at, end) - address

    def reason(self, address: int) -> FaultReason:
        """See `Bounds.reason`: a lost page is behind the end of the file."""
        return FaultReason.TRUNCATED

    def is_lost(self, frame: int) -> bool:
        """Whether a page was dumped but its data, or its descriptor, is gone."""
        if not self._was_dumped(frame):
            return False
        index = self._rank(frame) - self._skipped
        raw = self._read_at(
            self._descriptors_at + index * PAGE_DESCRIPTOR.size, PAGE_DESCRIPTOR.size
        )
        if len(raw) < PAGE_DESCRIPTOR.size:
            return True
        offset, size, _, _ = PAGE_DESCRIPTOR.unpack(raw)
        return not size or size > self._page_size or len(self._read_at(offset, size)) < size

    def count(self) -> int:
        """Return how many pages were dumped to this file."""
        return self._rank(self.end) - self._skipped

    def descriptor(self, frame: int) -> tuple[int, int, int] | None:
        """Return a page's offset and length in the file and its flags, None when not there."""
        if not self._was_dumped(frame) or self.is_lost(frame):
            return None
        index = self._rank(frame) - self._skipped
        at = self._descriptors_at + index * PAGE_DESCRIPTOR.size
        offset, size, flags, _ = PAGE_DESCRIPTOR.unpack(self._read_at(at, PAGE_DESCRIPTOR.size))
        return offset, size, flags

    def _was_dumped(self, frame: int) -> bool:
        byte = frame // 8
        return (
            self.first <= frame < self.end
            and byte < len(self._bitmap)
            and bool(self._bitmap[byte] >> frame % 8 & 1)
        )

    def _rank(self, frame: int) -> int:
        """Return how many pages before `frame` were dumped."""
        byte = min(frame // 8, len(self._bitmap))
        start = byte - byte % _CHUNK
        rest = int.from_bytes(self._bitmap[start : byte + 1], "little")
        mask = (1 << frame - start * 8) - 1
        return self._sums[start // _CHUNK] + (rest & mask).bit_count()


class CutParts:
    """The lost pages of a split dump, part by part."""

    def __init__(self, parts: Sequence[Bounds]) -> None:
        self._parts = parts

    def available(self, address: int, length: int) -> int:
        """See `CutPages.available`."""
        return min(part.available(address, length) for part in self._parts)

    def reason(self, address: int) -> FaultReason:
        """See `CutPages.reason`."""
        return FaultReason.TRUNCATED
