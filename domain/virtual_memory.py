"""VirtualMemory: an address space whose pages a translator finds in physical memory."""

from typing import Dict

from .address_space import AddressSpace, read_to_hole
from .errors import FaultReason, MemoryFault
from .page_tables import Translator

PAGES_REMEMBERED = 1 << 16


class VirtualMemory(AddressSpace):
    """The addresses from `start` to before `end`, of the kernel or of a process."""

    def __init__(
        self, physical: AddressSpace, translator: Translator, start: int, end: int
    ) -> None:
        self._read_physical = physical.read
        self._run = translator.run
        self._page_size = translator.page_size
        self._start = start
        self._end = end
        self._pages: Dict[int, int] = {}

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`; raises `ValueError` when the dump is closed."""
        if length <= 0:
            return b""
        if not self._start <= address < self._end:
            raise MemoryFault(address, FaultReason.UNMAPPED, "outside the address space")
        size = self._page_size
        inside = address % size
        if inside + length > size:
            return read_to_hole(self._piece, address, min(length, self._end - address))
        try:
            where = self._pages.get(address - inside)
            if where is None:
                where = self._remember(address - inside)
            return self._read_physical(where + inside, length)
        except MemoryFault as fault:
            raise MemoryFault(address, fault.reason, fault.detail) from None

    def _remember(self, page: int) -> int:
        if len(self._pages) >= PAGES_REMEMBERED:
            self._pages.clear()
        where = self._pages[page] = self._run(page, page + 1)[0]
        return where

    def _piece(self, address: int, length: int) -> bytes:
        """Read what adjoins in physical memory; a fault carries the virtual address."""
        try:
            where, there = self._run(address, address + length)
            return self._read_physical(where, there)
        except MemoryFault as fault:
            raise MemoryFault(address, fault.reason, fault.detail) from None
