"""Extents: the address ranges that an ELF dump really holds."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from kdump_gdbserver.domain.errors import FaultReason


class Extents:
    """Disjoint ranges of physical addresses whose bytes are in the file.

    libkdumpfile reads whole pages and fills what no PT_LOAD covers with zeros, and
    older versions do so for whole pages that makedumpfile left out (p_filesz smaller
    than p_memsz). A zero that nobody saved must not be shown, hence this check.
    """

    def __init__(
        self,
        ranges: Iterable[tuple[int, int]],
        lost: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Take the `(start, end)` ranges there, and those `lost` behind the end of the file."""
        self._starts, self._ends = _merged(ranges)
        self._lost_starts, self._lost_ends = _merged(lost)

    def available(self, address: int) -> int:
        """Return how many bytes are there from `address` on without a gap; 0 for none."""
        index = bisect.bisect_right(self._starts, address) - 1
        return max(self._ends[index] - address, 0) if index >= 0 else 0

    def reason(self, address: int) -> FaultReason:
        """Return why the byte at `address` is not there."""
        index = bisect.bisect_right(self._lost_starts, address) - 1
        if index >= 0 and address < self._lost_ends[index]:
            return FaultReason.TRUNCATED
        return FaultReason.EXCLUDED


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Sort ranges and join those that touch; return their starts and ends."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(ranges):
        if end <= start:
            continue
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
