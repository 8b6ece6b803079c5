"""The pages that a kdump-compressed file holds."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS, HeldPages, ReadAt
from kdump_gdbserver.adapters.kdumpfile.formats.page_bitmap import PageBitmap
from kdump_gdbserver.domain.errors import FaultReason

# Of each byte order: offset, size, flags, page_flags.
PAGE_DESCRIPTORS = {order: struct.Struct(mark + "QIIQ") for order, mark in MARKS.items()}
_SAMPLE = 256
_LOOKED_AT = 1 << 16


class DumpedPages:
    """Knows for each page whether it was dumped and is still in the file.

    libkdumpfile is only asked for pages that are there, for two reasons. It reads zeros beyond the
    end of a truncated file, so an uncompressed page would appear as 4 KiB of zeros. And version
    0.5.1 (Debian 12) corrupts its page cache each time it refuses a page; after one or two thousand
    refusals it crashes.
    """

    def __init__(
        self,
        read_at: ReadAt,
        *,
        bitmap: PageBitmap,
        descriptors_at: int,
        page_size: int,
        frames: tuple[int, int, int],
        truncated: bool,
        descriptor: struct.Struct,
    ) -> None:
        """Take the bitmap of dumped pages and the file offset of their descriptors.

        The descriptors are read only in a `truncated` file.
        """
        self._read_at = read_at
        self._bitmap = bitmap
        self._descriptors_at = descriptors_at
        self._page_size = page_size
        self.first = frames[0]
        self.end = min(frames[1], len(bitmap))
        self._truncated = truncated
        self._layout = descriptor

    def available(self, address: int, length: int) -> int:
        """Return how many bytes from `address` on precede the first page that is missing."""
        end = address + length
        at = address
        if not self._truncated:
            first, behind = address // self._page_size, -(-end // self._page_size)
            if not self.first <= first < self.end:
                return 0
            run = self._sound(first, self._bitmap.run(first, min(behind, self.end) - first))
            return max(min((first + run) * self._page_size, end) - address, 0)
        while at < end and self.holds(at // self._page_size):
            at += self._page_size - at % self._page_size
        return min(at, end) - address

    def reason(self, address: int) -> FaultReason:
        """Return why a page is missing."""
        frame = address // self._page_size
        if not self._is_dumped(frame):
            return FaultReason.EXCLUDED
        return FaultReason.TRUNCATED if self._truncated else FaultReason.CORRUPT

    def holds(self, frame: int) -> bool:
        """Whether a page can be read from the file."""
        return self._is_dumped(frame) and not (self._truncated and self._is_lost(frame))

    def _sound(self, frame: int, count: int) -> int:
        """Return how many of `count` dumped pages precede the first with an impossible size.

        libkdumpfile makes room for as many bytes as a page's descriptor says, up to 4 GiB. What is
        no longer in the file is left to the read.
        """
        size = self._layout.size
        index = self._bitmap.rank(frame) - self._bitmap.rank(self.first)
        raw = self._read_at(self._descriptors_at + index * size, count * size)
        raw = raw[: len(raw) // size * size]
        for number, (_, length, _, _) in enumerate(self._layout.iter_unpack(raw)):
            if length > self._page_size:
                return number
        return count

    def _is_dumped(self, frame: int) -> bool:
        return self.first <= frame < self.end and self._bitmap.is_set(frame)

    def _is_lost(self, frame: int) -> bool:
        """Whether the data of a dumped page, or its descriptor, is gone."""
        found = self._descriptor(frame)
        if found is None:
            return True
        offset, size, _ = found
        return not size or size > self._page_size or len(self._read_at(offset, size)) < size

    def is_torn(self, address: int, length: int) -> bool:
        """See `Bounds.is_torn`; nothing is read of a compressed page that is cut off."""
        frame, at = divmod(address, self._page_size)
        found = self._descriptor(frame) if self._truncated and self._is_dumped(frame) else None
        if found is None or found[1] != self._page_size:
            return False
        return 0 < len(self._read_at(found[0] + at, length)) < length

    def count(self) -> int:
        """Return how many pages were dumped to this file."""
        return self._bitmap.rank(self.end) - self._bitmap.rank(self.first)

    def descriptor(self, frame: int) -> tuple[int, int, int] | None:
        """Return a page's offset and length in the file and its flags, None when not there."""
        return self._descriptor(frame) if self.holds(frame) else None

    def first_with(self, flag: int) -> int | None:
        """Return a frame whose page has a flag, None when there is none among the first."""
        dumped = filter(self._is_dumped, range(self.first, min(self.end, self.first + _LOOKED_AT)))
        for frame in itertools.islice(dumped, _SAMPLE):
            found = self.descriptor(frame)
            if found is not None and found[2] & flag:
                return frame
        return None

    def _descriptor(self, frame: int) -> tuple[int, int, int] | None:
        index = self._bitmap.rank(frame) - self._bitmap.rank(self.first)
        at = self._descriptors_at + index * self._layout.size
        raw = self._read_at(at, self._layout.size)
        if len(raw) < self._layout.size:
            return None
        offset, size, flags, _ = self._layout.unpack(raw)
        return offset, size, flags


class DumpedParts:
    """The pages of a split dump, which is in several files."""

    def __init__(self, parts: Sequence[HeldPages], page_size: int) -> None:
        self._parts = sorted(parts, key=lambda part: part.first)
        self._page_size = page_size

    def available(self, address: int, length: int) -> int:
        """See `DumpedPages.available`."""
        found = 0
        while found < length and (part := self._part(address + found)) is not None:
            more = part.available(address + found, length - found)
            if not more:
                break
            found += more
        return found

    def reason(self, address: int) -> FaultReason:
        """See `DumpedPages.reason`; pages of a part that was not given count as excluded."""
        part = self._part(address)
        return FaultReason.EXCLUDED if part is None else part.reason(address)

    def is_torn(self, address: int, length: int) -> bool:
        """See `Bounds.is_torn`."""
        part = self._part(address)
        return part is not None and part.is_torn(address, length)

    def _part(self, address: int) -> HeldPages | None:
        frame = address // self._page_size
        return next((part for part in self._parts if part.first <= frame < part.end), None)
