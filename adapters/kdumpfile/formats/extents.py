"""Extents: the physical memory that an ELF dump really holds, and where in the file."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kdump_gdbserver.domain.errors import FaultReason


class Extent(NamedTuple):
    """Bytes of physical memory from `start` to `end`, at `offset` in the file."""

    start: int
    end: int
    offset: int


class Extents:
    """The disjoint ranges of physical addresses whose bytes are in the file.

    libkdumpfile reads whole pages and fills what no PT_LOAD covers with zeros, and older versions
    do so for whole pages that makedumpfile left out (p_filesz smaller than p_memsz). A zero that
    was never saved must not be shown, hence this table. Where segments overlap (the kernel's text
    in /proc/vmcore) the first one counts.
    """

    def __init__(self, segments: Iterable[Extent], lost: Iterable[Extent] = ()) -> None:
        """Take what is in the file, and what is `lost` beyond its end."""
        self._extents = _disjoint(segments)
        self._starts = [extent.start for extent in self._extents]
        self._lost = _disjoint(lost)
        self._lost_starts = [extent.start for extent in self._lost]

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._extents)

    def find(self, address: int) -> Extent | None:
        """Return the extent that holds the byte at `address`."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._extents[index].end:
            return self._extents[index]
        return None

    def total(self) -> int:
        """Return how many bytes there are in all."""
        return sum(extent.end - extent.start for extent in self._extents)

    def available(self, address: int, length: int) -> int:
        """Return how many of `length` bytes from `address` on are there without a gap."""
        at, end = address, address + length
        while at < end and (extent := self.find(at)) is not None:
            at = extent.end
        return min(at, end) - address

    def reason(self, address: int) -> FaultReason:
        """Return why the byte at `address` is not there."""
        index = bisect.bisect_right(self._lost_starts, address) - 1
        if index >= 0 and address < self._lost[index].end:
            return FaultReason.TRUNCATED
        return FaultReason.EXCLUDED

    def is_torn(self, address: int, length: int) -> bool:
        """See `Bounds.is_torn`."""
        there = self.available(address, length)
        return 0 < there < length and self.reason(address + there) is FaultReason.TRUNCATED


def _disjoint(segments: Iterable[Extent]) -> list[Extent]:
    """Sort segments by address, cutting off what an earlier one has already."""
    result: list[Extent] = []
    covered = 0
    for start, end, offset in sorted(segments):
        cut = max(covered - start, 0)
        if start + cut < end:
            result.append(Extent(start + cut, end, offset + cut))
            covered = end
    return result
