"""PhysicalMemory: the switch between virtual and physical addresses."""

from __future__ import annotations

from typing import Protocol


class PhysicalMemory(Protocol):
    """Switches a session to physical addresses; they are virtual at first."""

    @property
    def active(self) -> bool:
        """Whether addresses are physical ones now."""

    def switch(self, on: bool) -> None:
        """Make addresses physical (`on`) or virtual from now on."""
