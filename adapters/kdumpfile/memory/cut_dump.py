"""Translations in a dump whose end is cut off, checked against what is left of the page tables."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.adapters.kdumpfile.memory.page_walker import PageWalker
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault


class PageTranslator(Protocol):
    """What finds the physical address of a virtual one; see `Translator`."""

    def translate(self, address: int) -> int:
        """Return the physical address of `address`."""

    def translate_run(self, address: int, end: int, page_size: int) -> tuple[int, int]:
        """Return the physical address of `address`, and how many bytes adjoin there."""

    def close(self) -> None:
        """Free what is below."""


class CheckedTranslator:
    """A translator that refuses what goes through an entry of which the file has a part.

    libkdumpfile takes the other part for zeros: the address would be that of another page.
    Entries of which the file has nothing are all zeros to it, and lead nowhere.
    """

    def __init__(self, translator: PageTranslator, walker: PageWalker) -> None:
        """Take both over."""
        self._translator = translator
        self._walker = walker

    def translate(self, address: int) -> int:
        """See `Translator.translate`."""
        where = self._translator.translate(address)
        try:
            walk = self._walker.walk(address)
        except MemoryFault:  # no table is known, so none was used
            return where
        if self._walker.is_torn:
            raise MemoryFault(address, FaultReason.TRUNCATED, walk.detail)
        return where

    def translate_run(self, address: int, end: int, page_size: int) -> tuple[int, int]:
        """See `Translator.translate_run`; here it is one page."""
        offset = address % page_size
        try:
            where = self.translate(address - offset) + offset
        except MemoryFault as fault:
            raise MemoryFault(address, fault.reason, fault.detail) from None
        return where, min(end - address, page_size - offset)

    def close(self) -> None:
        """Free both; translating afterwards raises `ValueError`."""
        self._translator.close()
        self._walker.close()
