"""SymbolFinder over the directories where distributions and people keep debug files."""

from __future__ import annotations

from kdump_gdbserver.adapters.debug_files.finder import DebugFiles

__all__ = ["DebugFiles"]
