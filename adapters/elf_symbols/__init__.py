"""SymbolFile on pyelftools: build-id, segments and symbols of a vmlinux."""

from __future__ import annotations

from kdump_gdbserver.adapters.elf_symbols.reader import ElfSymbolFile

__all__ = ["ElfSymbolFile"]
