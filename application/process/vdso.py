"""The vDSO: code that the kernel maps into every process, from the kernel's own copy.

A process has page-table entries only for those pages of it that it has used; the kernel supplies
the others from one image that all processes share (arch/x86/entry/vdso/vma.c, vdso_fault), so they
are the same.
"""

from __future__ import annotations

from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.sidecars import Vma

PATH = "[vdso]"
_ELF_CLASS = {4: b"\x7fELF\x01", 8: b"\x7fELF\x02"}
_LARGEST = 1 << 20


class VdsoPages:
    """A vDSO's image; implements `application.process_memory.PageSource` for its mapping."""

    def __init__(self, image: bytes) -> None:
        """Take the image, a whole number of pages."""
        self._image = image

    def supply(self, vma: Vma, address: int, length: int, fault: MemoryFault) -> bytes:
        """See `PageSource.supply`."""
        at = address - vma.start
        data = self._image[at : at + length]
        if not data:
            raise fault
        return data


def find_vdso(
    survey: KernelSurvey, kernel: Arch, process: Arch, vma: Vma, memory: AddressSpace
) -> VdsoPages | None:
    """Return a process's vDSO from the kernel, None when that is not certain.

    It must be as long as the mapping, and match every page of it that `memory` has.
    """
    where = _bounds(survey, kernel, process)
    size = vma.end - vma.start
    if where is None or not where[1] <= size <= _LARGEST or size - where[1] >= 1 << 16:
        return None
    try:
        image = survey.memory.read_exact(where[0], size)
    except MemoryFault:
        return None
    if not image.startswith(_ELF_CLASS[process.pointer_size]) or not _agree(image, vma, memory):
        return None
    return VdsoPages(image)


def _bounds(survey: KernelSurvey, kernel: Arch, process: Arch) -> tuple[int, int] | None:
    """Return address and size, in bytes, of the kernel's image."""
    symbol, vdso = survey.symbols.symbol, process.process.vdso
    if vdso is None:
        return None
    if vdso.image:
        struct = symbol(vdso.image)
        if struct is None:
            return None
        word = kernel.pointer_size
        try:
            start, size = (
                survey.memory.read_uint(at, word, kernel.byte_order)
                for at in (struct, struct + word)
            )
        except MemoryFault:
            return None
        return start, size
    start_at, end = symbol(vdso.start), symbol(vdso.end)
    if start_at is None or end is None:
        return None
    return start_at, end - start_at


def _agree(image: bytes, vma: Vma, memory: AddressSpace) -> bool:
    """Whether what the process has of its vDSO is the same."""
    for at in range(0, len(image), 4096):
        try:
            page = memory.read(vma.start + at, 4096)
        except MemoryFault:
            continue
        if not image.startswith(page, at):
            return False
    return True
