"""Which of a process's pages were never touched, or given back: they have no page-table entry."""

from __future__ import annotations

from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import RootTable

_ENTRY_SIZE = 8
_SMALLEST_TABLE = 4096


class UntouchedPages:
    """Proves by the page tables that a process had no page.

    A failed read proves nothing: the entry may be of an unknown kind, or the table may be missing
    from the dump.
    """

    def __init__(self, memory: DumpMemory, root_table: RootTable) -> None:
        self._memory = memory
        self._root_table = root_table
        self._physical = memory.physical()

    def length(self, address: int) -> int:
        """Return how many bytes from `address` on certainly have no page; it may be 0."""
        try:
            walk = self._memory.walk(address, self._root_table)
        except MemoryFault:
            return 0
        if walk.fault is not FaultReason.UNMAPPED or not walk.entries or walk.entries[-1].value:
            return 0
        end = address - address % walk.span + walk.span
        return end - address + walk.span * self._empty_after(walk.entries[-1].address)

    def _empty_after(self, entry: int) -> int:
        """Count the entries that follow in the same table and are empty too."""
        following = entry + _ENTRY_SIZE
        try:
            rest = self._physical.read(following, -following % _SMALLEST_TABLE)
        except MemoryFault:
            return 0
        return (len(rest) - len(rest.lstrip(b"\0"))) // _ENTRY_SIZE
