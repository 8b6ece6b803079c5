"""AskedSymbols: symbols that only the debugger can look up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class AskedSymbols(Protocol):
    """Symbols whose addresses the debugger is asked for, by `qSymbol`."""

    @property
    def wanted(self) -> Sequence[str]:
        """The names of the symbols whose addresses are needed."""

    def tell(self, name: str, address: int | None) -> None:
        """Take a symbol's run-time address, None when the debugger does not know it."""
