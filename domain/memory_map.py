"""MemoryRegion: a range of addresses with the same properties."""

from __future__ import annotations

from dataclasses import dataclass


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
