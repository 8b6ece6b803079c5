"""Translations in a dump whose end is cut off, checked against what is left of the page tables."""

from __future__ import annotations

from kdump_gdbserver.adapters.kdumpfile.memory.page_walker import PageWalker
from kdump_gdbserver.adapters.kdumpfile.memory.translation import LibraryTranslator
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_tables import Translator


class CheckedTranslator(Translator):
    """A translator that tells unmapped addresses from unknown ones.

    libkdumpfile reads zeros beyond the end of a file. An entry that is only partly in the file
    would lead to another page, so that translation is refused. An entry that is wholly missing
    leads nowhere; the fault then says what is missing.
    """

    def __init__(
        self, translator: LibraryTranslator, walker: PageWalker, *, truncated: bool
    ) -> None:
        """Take both over; `truncated` says that the file was cut when it was opened."""
        self.page_size = translator.page_size
        self._translator = translator
        self._walker = walker
        self._truncated = truncated

    def run(self, address: int, end: int) -> tuple[int, int]:
        """See `Translator.run`; in a file that was cut it is one page."""
        if self._truncated:
            end = min(end, address - address % self.page_size + self.page_size)
        try:
            found = self._translator.run(address, end)
        except MemoryFault as fault:
            raise self._explained(fault) from None
        if self._truncated:
            self._refuse_torn(address)
        return found

    def _refuse_torn(self, address: int) -> None:
        try:
            walk = self._walker.walk(address)
        except MemoryFault:  # no table is known, so none was used
            return
        if self._walker.is_torn:
            raise MemoryFault(address, FaultReason.TRUNCATED, walk.detail)

    def _explained(self, fault: MemoryFault) -> MemoryFault:
        if fault.reason is FaultReason.TRUNCATED or not self._truncated:
            return fault
        try:
            walk = self._walker.walk(fault.address)
        except MemoryFault:
            return fault
        if walk.fault is not FaultReason.TRUNCATED:
            return fault
        return MemoryFault(fault.address, walk.fault, walk.detail)

    def close(self) -> None:
        """Free both; translating afterwards raises `ValueError`."""
        self._translator.close()
        self._walker.close()
