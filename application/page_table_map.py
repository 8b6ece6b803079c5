"""What is mapped in an address space, by its page tables."""

from __future__ import annotations

from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import PageWalk, RootTable
from kdump_gdbserver.ports.memory_map import MemoryRegion

# How many pages beyond the requested one are examined to find the end of a region.
_LOOK_AHEAD = 512


class PageTableMap:
    """The pages of the kernel, or of a process and the kernel; a `ports.MemoryMap`."""

    def __init__(self, memory: DumpMemory, root_table: RootTable | None) -> None:
        self._memory = memory
        self._arch = memory.dump.facts.arch
        self._root_table = root_table

    def region(self, address: int) -> MemoryRegion:
        """See `MemoryMap.region`; goes on through pages and holes of the same kind."""
        last = self._arch.pointer_mask + 1
        start, end, permissions = self._part(address)
        for _ in range(_LOOK_AHEAD):
            if end >= last:
                break
            try:
                _, following, others = self._part(end)
            except MemoryFault:
                break
            if others != permissions:
                break
            end = following
        return MemoryRegion(start, min(end, last), permissions)

    def _part(self, address: int) -> tuple[int, int, str]:
        walk = self._memory.walk(address, self._root_table)
        start = address - address % walk.span
        if walk.physical is not None:
            return start, start + walk.span, permissions_of(self._arch, walk)
        if walk.fault not in (FaultReason.UNMAPPED, FaultReason.SWAPPED):
            raise MemoryFault(address, walk.fault or FaultReason.UNMAPPED, walk.detail)
        if not walk.entries and not _has_two_tables(self._arch):
            # Not canonical: in neither half of the address space.
            return walk.span, (1 << 64) - walk.span, ""
        return start, start + walk.span, ""


def permissions_of(arch: Arch, walk: PageWalk) -> str:
    """Return r, w and x as the walk's entries allow them together."""
    if arch.paging is None:
        return "r"
    return arch.paging.permissions(walk.address, [entry.value for entry in walk.entries])


def _has_two_tables(arch: Arch) -> bool:
    return arch.paging is not None and arch.paging.split
