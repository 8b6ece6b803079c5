"""SymbolStore: keeps what was made of a kernel for the next dump of it."""

from __future__ import annotations

from typing import Protocol


class SymbolStore(Protocol):
    """Contents by name, kept from one run of the program to the next as long as there is room."""

    def load(self, name: str) -> bytes | None:
        """Return what was saved under a name, None when it is not there, or damaged."""

    def save(self, name: str, content: bytes) -> None:
        """Keep a content; that it cannot be kept is no error."""
