"""RISC-V for drgn, which has neither its page tables nor its stacks: both in the simplest way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import drgn

from tests.real.oracle.dump_file import PhysicalMemory

_PAGE = 4096


class VirtualMemory:
    """The kernel's addresses through Sv39, Sv48 or Sv57, one page and one entry at a time."""

    def __init__(self, physical: PhysicalMemory, vmcoreinfo: str) -> None:
        def told(key: str, base: int) -> int:
            found = re.search(rf"^{re.escape(key)}=(\S+)$", vmcoreinfo, re.M)
            if found is None:
                raise LookupError(f"VMCOREINFO has no {key}")
            return int(found[1], base)

        self._physical = physical
        self._levels = (told("NUMBER(VA_BITS)", 0) - 12) // 9
        offset = told("NUMBER(va_kernel_pa_offset)", 0)
        self._direct = told("NUMBER(PAGE_OFFSET)", 0) - told("NUMBER(phys_ram_base)", 0)
        self._root = told("SYMBOL(swapper_pg_dir)", 16) - offset

    def direct(self, physical: int) -> int:
        """Where the kernel has all memory mapped."""
        return self._direct + physical

    def page(self, address: int, root: int | None = None) -> int:
        """Physical address of a virtual one; LookupError."""
        table = self._root if root is None else root
        for level in reversed(range(self._levels)):
            shift = 12 + 9 * level
            place = table + 8 * (address >> shift & 511)
            entry = int.from_bytes(self._physical.read(place, 8), "little")
            if not entry & 1:
                break
            table = (entry >> 10 & (1 << 44) - 1) << 12
            if entry & 0xE:
                return table + (address & (1 << shift) - 1)
        raise LookupError(f"no page at {address:#x}")

    def read(self, address: int, count: int, root: int | None = None) -> bytes:
        """Bytes; LookupError where there are none."""
        parts = []
        while count:
            size = min(count, _PAGE - address % _PAGE)
            parts.append(self._physical.read(self.page(address, root), size))
            address, count = address + size, count - size
        return b"".join(parts)

    def read_for_drgn(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        """The same for drgn.Program.add_memory_segment()."""
        try:
            return self.read(address, count)
        except LookupError as error:
            raise drgn.FaultError(str(error), address) from None


def frame_pointers(program: drgn.Program, task: drgn.Object) -> Iterator[int]:
    """The pcs of a switched-out task, by the frame pointers below its stack's end.

    Raises ValueError for a task that was on a CPU: its registers are in a note.
    """
    if task.on_cpu:
        raise ValueError("the task was on a CPU, and drgn unwinds no RISC-V stack")
    yield int(task.thread.ra)
    stack = int(task.stack)
    marks = ("_start", "_etext"), ("_sinittext", "_einittext")
    text = [tuple(program.symbol(name).address for name in ends) for ends in marks]
    frame = int(task.thread.s[0])
    while stack < frame and frame % 8 == 0:
        previous, pc = (program.read_u64(frame - 16), program.read_u64(frame - 8))
        if not any(start <= pc < end for start, end in text):
            return
        yield pc
        if previous <= frame:
            return
        frame = previous
