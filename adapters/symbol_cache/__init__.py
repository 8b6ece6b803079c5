"""SymbolStore in a directory of the user's cache."""

from __future__ import annotations

from kdump_gdbserver.adapters.symbol_cache.directory import SymbolCache

__all__ = ["SymbolCache"]
