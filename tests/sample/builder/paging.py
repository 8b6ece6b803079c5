"""Physical memory of the toy machine and its 4-level page tables (Intel SDM vol. 3A, 4.5)."""

from __future__ import annotations

import ctypes
import struct

from builder import layout

PRESENT, WRITE, USER, ACCESSED, DIRTY = 1, 2, 4, 0x20, 0x40
LARGE, GLOBAL = 0x80, 0x100
NO_EXECUTE = 1 << 63
TABLE = PRESENT | WRITE | USER | ACCESSED | DIRTY
KERNEL_DATA = PRESENT | WRITE | ACCESSED | DIRTY | GLOBAL | NO_EXECUTE
KERNEL_CODE = PRESENT | WRITE | ACCESSED | DIRTY | GLOBAL
USER_DATA = PRESENT | WRITE | USER | ACCESSED | DIRTY | NO_EXECUTE
USER_CODE = PRESENT | USER | ACCESSED

ADDRESS_MASK = 0x000FFFFFFFFFF000
LEVEL_OF_SIZE = {layout.PAGE: 0, layout.LARGE_PAGE: 1, layout.HUGE_PAGE: 2}


class PhysicalMemory:
    """Two banks of RAM, by physical address."""

    def __init__(self) -> None:
        self.banks = {
            0: ctypes.create_string_buffer(layout.RAM_SIZE),
            layout.HIGH_PAGE: ctypes.create_string_buffer(layout.PAGE),
        }

    def _find(self, address: int, size: int) -> tuple[ctypes.Array[ctypes.c_char], int]:
        for base, bank in self.banks.items():
            if base <= address and address + size <= base + len(bank):
                return bank, address - base
        raise ValueError(f"no RAM at {address:#x}, size {size:#x}")

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a physical address; ValueError where there is no RAM."""
        bank, offset = self._find(address, size)
        return ctypes.string_at(ctypes.addressof(bank) + offset, size)

    def write(self, address: int, data: bytes) -> None:
        """Store bytes at a physical address; ValueError where there is no RAM."""
        bank, offset = self._find(address, len(data))
        ctypes.memmove(ctypes.addressof(bank) + offset, data, len(data))

    def read_word(self, address: int) -> int:
        """The 64-bit word at a physical address."""
        return int(struct.unpack("<Q", self.read(address, 8))[0])

    def write_word(self, address: int, value: int) -> None:
        """Store a 64-bit word at a physical address."""
        self.write(address, struct.pack("<Q", value))


class PageTables:
    """Builds tables under a root; table frames come one by one from TABLES_PHYS."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self.next_frame = layout.TABLES_PHYS

    def new_table(self) -> int:
        """Physical address of a fresh, zeroed table."""
        frame = self.next_frame
        self.next_frame += layout.PAGE
        return frame

    def map(
        self, root: int, virtual: int, physical: int, flags: int, size: int = layout.PAGE
    ) -> None:
        """Map one page of size bytes; root is the physical address of the top table."""
        leaf = LEVEL_OF_SIZE[size]
        table = root
        for level in range(3, leaf, -1):
            entry = table + 8 * (virtual >> (12 + 9 * level) & 511)
            if not self._memory.read_word(entry) & PRESENT:
                self._memory.write_word(entry, self.new_table() | TABLE)
            table = self._memory.read_word(entry) & ADDRESS_MASK
        entry = table + 8 * (virtual >> (12 + 9 * leaf) & 511)
        self._memory.write_word(entry, physical | flags | (LARGE if leaf else 0))

    def translate(self, root: int, virtual: int) -> int | None:
        """Physical address of a virtual one, or None where nothing is mapped."""
        table = root
        for level in range(3, -1, -1):
            entry = self._memory.read_word(table + 8 * (virtual >> (12 + 9 * level) & 511))
            if not entry & PRESENT:
                return None
            size = 1 << (12 + 9 * level)
            if level == 0 or entry & LARGE:
                return entry & ADDRESS_MASK & ~(size - 1) | virtual & (size - 1)
            table = entry & ADDRESS_MASK
        return None
