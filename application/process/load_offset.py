"""How far a process's executable was moved from where it was linked."""

from __future__ import annotations

from kdump_gdbserver.application.process.elf_reader import ET_DYN, ET_EXEC, PF_X, PT_LOAD, read_elf
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.sidecars import ProcessImage
from kdump_gdbserver.ports.symbol_file import SymbolFile

# How far before its code an executable's first page is looked for, in bytes.
_FARTHEST = 64 << 20


def find_load_offset(
    image: ProcessImage,
    memory: AddressSpace,
    page_size: int,
    symbol_file: SymbolFile | None = None,
) -> int | None:
    """Return what `file EXECUTABLE -o` wants; None when it must not be given.

    `loadaddr` is where the first code is. The executable's headers, when they are in
    memory, tell whether it could be moved at all (it is a PIE), and how far from its
    beginning the code is. Without them it is the distance of the executable's first
    mapping from where `symbol_file`, or else any PIE, was linked; `loadaddr` itself when
    mappings are not known either.
    """
    code = _down(image.loadaddr, page_size)
    known = [vma for vma in image.vmas if vma.path and vma.path == image.exe and not vma.offset]
    # The earlier script's sidecars have no mappings.
    bases = [vma.start for vma in known] or range(code, max(code - _FARTHEST, 0), -page_size)
    for base in bases:

        def read(offset: int, count: int, base: int = base) -> bytes:
            return memory.read(base + offset, count)

        elf = read_elf(read)
        if elf is None:
            continue
        loads = list(elf.of_kind(PT_LOAD))
        if elf.kind not in (ET_EXEC, ET_DYN) or not loads:
            break
        offset = base - _down(loads[0].address, page_size)
        codes = [_down(offset + s.address, page_size) for s in loads if s.flags & PF_X]
        if known or code in codes:
            return None if elf.kind == ET_EXEC else offset
        break
    if not known:
        return image.loadaddr
    linked_at = _down(symbol_file.first_segment, page_size) if symbol_file else 0
    return known[0].start - linked_at or None


def _down(address: int, page_size: int) -> int:
    return address - address % page_size
