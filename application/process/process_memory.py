"""A process's memory: what the dump has, and what is certain without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kdump_gdbserver.application.process import vdso
from kdump_gdbserver.application.process.mapped_files import Mappings, is_file
from kdump_gdbserver.domain.address_space import AddressSpace, read_to_hole
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma


class PageSource(Protocol):
    """Supplies pages of mapped files that the dump lacks."""

    def supply(self, vma: Vma, address: int, length: int, fault: MemoryFault) -> bytes:
        """Return some bytes at `address` of a mapping, `length` at most, for a failed read.

        A fault of the reason UNMAPPED means that the page was never touched. Raises `fault`,
        or one that says more, when the bytes are not certain.
        """


class ProcessMemory(AddressSpace):
    """Memory of a process; pages that the dump lacks are filled in where they are certain.

    A page of private memory that the process never touched has no page-table entry, and the kernel
    supplies a page of zeros for it (mm/memory.c, do_anonymous_page). So does this, like the
    kernel's own core files. Pages of files come from `files`.
    """

    def __init__(
        self,
        dumped: AddressSpace,
        mappings: Mappings,
        page_size: int,
        untouched: Callable[[int], int],
        *,
        files: PageSource | None = None,
        vdso_pages: PageSource | None = None,
    ) -> None:
        """Read `dumped` first; `page_size` is in bytes.

        `untouched` returns how many bytes from an address on certainly have no page-table entry;
        `files` has pages of mapped files, `vdso_pages` those of the vDSO.
        """
        self._dumped = dumped
        self._mappings = mappings
        self._untouched = untouched
        self._files = files
        self._vdso = vdso_pages
        self._page_size = page_size

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`."""
        if length <= 0:
            return b""
        return read_to_hole(self._read_some, address, length)

    def _read_some(self, address: int, length: int) -> bytes:
        try:
            return self._dumped.read(address, length)
        except MemoryFault as fault:
            vma = self._mappings.at(address)
            if vma is None:
                raise
            if vma.path == vdso.PATH and self._vdso is not None:
                return self._vdso.supply(vma, address, length, fault)
            return self._stand_in(vma, address, min(length, vma.end - address), fault)

    def _stand_in(self, vma: Vma, address: int, length: int, fault: MemoryFault) -> bytes:
        if is_file(vma) and self._files is None:
            offset = vma.offset + address - vma.start
            detail = f"offset {offset:#x} of {vma.path}; --sysroot DIR may have the file"
            raise MemoryFault(address, fault.reason, detail) from None
        if not is_file(vma) and not _is_zero_filled(vma):
            raise fault
        if fault.reason is FaultReason.UNMAPPED:
            # Unmapped is no more than a guess until the page tables prove it.
            length = min(length, self._untouched(address))
            if length <= 0:
                raise fault
            if not is_file(vma):
                return bytes(length)
        if self._files is None or not is_file(vma):
            raise fault
        to_page_end = self._page_size - address % self._page_size
        return self._files.supply(vma, address, min(length, to_page_end), fault)


def _is_zero_filled(vma: Vma) -> bool:
    """Whether the kernel fills the mapping with zeros; it does not for its own, such as [vvar]."""
    anonymous = not vma.path or vma.path.startswith(("[heap]", "[stack", "[anon:"))
    return anonymous and vma.inode == 0 and vma.perms[:2] == "rw" and vma.perms[3:] == "p"
