"""Physical memory of an ELF dump, read by pyelftools: nothing of the server's own readers."""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import Literal

from elftools.elf.elffile import ELFFile


class PhysicalMemory:
    """The segments of an ELF dump by physical address."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        elf = ELFFile(self._file)
        self.machine: str = elf["e_machine"]
        self.has_vmcoreinfo = False
        places = []
        for segment in elf.iter_segments():
            if segment["p_type"] == "PT_LOAD":
                places.append((segment["p_paddr"], segment["p_filesz"], segment["p_offset"]))
            elif segment["p_type"] == "PT_NOTE":
                self.has_vmcoreinfo |= any(
                    n["n_name"] == "VMCOREINFO" for n in segment.iter_notes()
                )
        self._places = sorted(places)
        self._starts = [start for start, _, _ in self._places]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Start and size of each segment."""
        return [(start, size) for start, size, _ in self._places]

    def read(self, address: int, length: int) -> bytes:
        """Bytes; LookupError where there are none, or not all."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at >= 0:
            start, size, offset = self._places[at]
            if address + length <= start + size:
                self._file.seek(offset + address - start)
                return self._file.read(length)
        raise LookupError(f"no physical memory at {address:#x}")

    def read_for_drgn(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        """The same for drgn.Program.add_memory_segment(): `offset` is that in the segment."""
        start = address if physical else self.ranges[0][0] + offset
        return self.read(start, count)


def guest_vmcoreinfo(memory: PhysicalMemory, told: str) -> bytes:
    """VMCOREINFO out of the memory of a dump without it; /sys/kernel/vmcoreinfo told where."""
    address, size = (int(word, 16) for word in told.split())
    note = memory.read(address, size)
    order: Literal["little", "big"] = "little" if note[0] else "big"  # of the name's size, 11
    return note[24 : 24 + int.from_bytes(note[4:8], order)]
