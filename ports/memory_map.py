"""MemoryMap: which parts of an address space are mapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """Addresses from `start` to before `end`; `permissions` are "" where nothing is mapped.

    They are of the letters r, w and x, as the hardware had them. `name` is a file's path
    or a name such as [stack], "" for none.
    """

    start: int
    end: int
    permissions: str = ""
    name: str = ""


class MemoryMap(Protocol):
    """Tells what an address belongs to."""

    def region(self, address: int) -> MemoryRegion:
        """Return the region that `address` is in; a hole is one without permissions.

        A region may be told in several parts, each for its own addresses. Raises
        `MemoryFault` when it cannot be told.
        """
