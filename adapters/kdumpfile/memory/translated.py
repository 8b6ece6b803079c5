"""Address spaces whose pages are looked up one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kdump_gdbserver.adapters.kdumpfile.memory.cut_dump import PageTranslator
from kdump_gdbserver.adapters.kdumpfile.memory.elf_memory import ElfMemory
from kdump_gdbserver.adapters.kdumpfile.memory.kdump_memory import KdumpAddressSpace
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault

PAGES_REMEMBERED = 1 << 16


class TranslatedAddressSpace(AddressSpace):
    """Virtual memory: pages found by a `Translator`, bytes read from physical memory.

    For processes, which have page tables that libkdumpfile does not know of, and for
    the kernel in ELF dumps: there libkdumpfile goes by p_vaddr before any page table,
    and QEMU writes the physical address into p_vaddr, so that NULL would be readable.
    Addresses from `start` to `end` belong to the space.
    """

    def __init__(
        self,
        physical: ElfMemory | KdumpAddressSpace,
        translator: PageTranslator,
        page_size: int,
        start: int,
        end: int,
        *,
        explain: Callable[[MemoryFault], MemoryFault],
    ) -> None:
        """Take both over; `explain` returns the fault of a translation with what it is due to."""
        self._physical = physical
        self._translator = translator
        self._translate = translator.translate
        self._page_size = page_size
        self._start = start
        self._end = end
        self._explain = explain
        self._pages: dict[int, int] = {}
        self._lock = threading.Lock()

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`; raises `ValueError` when the dump is closed."""
        if length <= 0:
            return b""
        if not self._start <= address < self._end:
            raise MemoryFault(address, FaultReason.UNMAPPED, "outside the address space")
        end = min(address + length, self._end)
        with self._lock:
            offset = address % self._page_size
            if offset + end - address > self._page_size:
                return self._read_runs(address, end)
            try:
                where = self._page(address - offset) + offset
            except MemoryFault as fault:
                raise self._explain(MemoryFault(address, fault.reason, fault.detail)) from None
            return self._read_physical(address, where, end - address)

    def _read_runs(self, address: int, end: int) -> bytes:
        """Read `address` to `end`, physically adjoining pages at one go."""
        parts: list[bytes] = []
        while address < end:
            try:
                where, length = self._translator.translate_run(address, end, self._page_size)
            except MemoryFault as fault:
                if parts:
                    break
                raise self._explain(fault) from None
            try:
                part = self._read_physical(address, where, length)
            except MemoryFault:
                if parts:
                    break
                raise
            parts.append(part)
            if len(part) < length:
                break
            address += length
        return b"".join(parts)

    def _page(self, page: int) -> int:
        """Return the physical address of a page, remembered from the last time."""
        where = self._pages.get(page)
        if where is None:
            if len(self._pages) >= PAGES_REMEMBERED:
                self._pages.clear()
            where = self._pages[page] = self._translate(page)
        return where

    def _read_physical(self, address: int, where: int, length: int) -> bytes:
        """Read physical memory; a fault carries the virtual address."""
        try:
            return self._physical.read(where, length)
        except MemoryFault as fault:
            raise MemoryFault(address, fault.reason, fault.detail) from None

    def close(self) -> None:
        """Free what is below once no read is under way."""
        with self._lock:
            self._translator.close()
            self._physical.close()
