"""SymbolFinder: looks for the vmlinux of a dumped kernel where debug files are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WantedKernel:
    """Whose vmlinux is looked for: what proves it, and what leads to it.

    `build_id` is lower-case hex and decides, `machine` is the ELF number. `beside` are the
    paths of the dump.
    """

    build_id: str
    machine: int
    release: str | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundVmlinux:
    """A vmlinux: an absolute path, or what the user gave, and in words how it was found."""

    path: str
    how: str


class SymbolFinder(Protocol):
    """One kind of place where debug files are."""

    def find(self, kernel: WantedKernel) -> FoundVmlinux | None:
        """Return a vmlinux that is proved to be the kernel's, None when there is none."""
