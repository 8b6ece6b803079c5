"""The mappings of a process by address, and the files that it has mapped."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence

from kdump_gdbserver.application.process.elf_reader import read_build_id, read_elf
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma
from kdump_gdbserver.ports.memory_map import MemoryRegion

_DELETED = " (deleted)"


def is_file(vma: Vma) -> bool:
    """Whether a mapping is of a file that has a path."""
    return vma.path.startswith("/")


def file_path(vma: Vma) -> str:
    """Return the path of a mapping's file, without the kernel's mark of a deleted one."""
    return vma.path.removesuffix(_DELETED)


def same_file(one: Vma, other: Vma) -> bool:
    """Whether two mappings are of one file."""
    return (one.path, one.dev, one.inode) == (other.path, other.dev, other.inode)


class Mappings:
    """A process's mappings in order of their addresses."""

    def __init__(self, vmas: Sequence[Vma]) -> None:
        self._vmas = sorted(vmas, key=lambda vma: vma.start)
        self._starts = [vma.start for vma in self._vmas]

    def __iter__(self) -> Iterator[Vma]:
        return iter(self._vmas)

    def at(self, address: int) -> Vma | None:
        """Return the mapping that an address is in, None when it is in none."""
        place = bisect.bisect_right(self._starts, address) - 1
        if place < 0 or address >= self._vmas[place].end:
            return None
        return self._vmas[place]

    def region(self, address: int) -> MemoryRegion:
        """Return the mapping or the hole that an address is in; see `ports.MemoryMap`."""
        vma = self.at(address)
        if vma is not None:
            permissions = "".join(letter for letter in vma.perms[:3] if letter != "-")
            return MemoryRegion(vma.start, vma.end, permissions, vma.path)
        place = bisect.bisect_right(self._starts, address)
        start = self._vmas[place - 1].end if place else 0
        end = self._starts[place] if place < len(self._starts) else 1 << 64
        return MemoryRegion(start, end)

    def file_reader(
        self, of: Vma, read_memory: Callable[[int, int], bytes]
    ) -> Callable[[int, int], bytes]:
        """Return a function that reads a mapping's file at file offsets, through mapped pages.

        It raises `MemoryFault` for parts that are not mapped.
        """
        parts = [vma for vma in self._vmas if same_file(vma, of)]

        def read(offset: int, count: int) -> bytes:
            for vma in parts:
                size = vma.end - vma.start
                if vma.offset <= offset < vma.offset + size:
                    inside = offset - vma.offset
                    return read_memory(vma.start + inside, min(count, size - inside))
            raise MemoryFault(offset, FaultReason.UNMAPPED, "this part of the file is not mapped")

        return read

    def build_id(self, of: Vma, read_memory: Callable[[int, int], bytes]) -> str | None:
        """Return the GNU build-id of a mapping's file, None when memory does not have it."""
        read = self.file_reader(of, read_memory)
        image = read_elf(read)
        return read_build_id(image, read) if image else None
