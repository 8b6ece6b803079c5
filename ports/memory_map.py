"""MemoryMap: which parts of an address space are mapped."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.domain.memory_map import MemoryRegion


class MemoryMap(Protocol):
    """Tells what an address belongs to."""

    def region(self, address: int) -> MemoryRegion:
        """Return the region that `address` is in; a hole is one without permissions.

        A region may be told in several parts, each for its own addresses. Raises
        `MemoryFault` when it cannot be told.
        """
