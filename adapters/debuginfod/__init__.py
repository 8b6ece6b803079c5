"""SymbolFinder over debuginfod servers."""

from __future__ import annotations

from kdump_gdbserver.adapters.debuginfod.client import Debuginfod

__all__ = ["Debuginfod"]
