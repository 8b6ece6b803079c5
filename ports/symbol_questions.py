"""SymbolQuestions: symbols that only the debugger can look up, asked for by `qSymbol`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class SymbolQuestions(Protocol):
    """What a view asks the debugger for, each time that one has new symbols."""

    @property
    def wanted(self) -> Sequence[str]:
        """The names of the symbols whose addresses are needed."""

    def tell(self, name: str, address: int | None) -> str | None:
        """Take a symbol's run-time address, None when the debugger does not know it.

        Returns what that shows to be wrong with the debugger's symbols, None for nothing new.
        """
