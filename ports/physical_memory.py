"""PhysicalMemory: the switch between virtual and physical addresses."""

from __future__ import annotations

from typing import Protocol


class PhysicalMemory(Protocol):
    """Lets a session's addresses be physical ones; they are virtual at first."""

    @property
    def active(self) -> bool:
        """Whether addresses are physical ones now."""

    def switch(self, on: bool) -> None:
        """Let addresses be physical (`on`) or virtual from now on."""
