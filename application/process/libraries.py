"""The shared libraries of a process, where the dynamic linker's own list is not in the dump.

Debuggers find libraries by that list: DT_DEBUG in the executable's dynamic section leads to `struct
r_debug`, that to the list of `struct link_map` (glibc, elf/link.h). All of these are in written
pages, so a dump without user pages lacks them. The mappings give the same information.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdump_gdbserver.application.process.elf_reader import (
    ET_DYN,
    PF_X,
    PT_DYNAMIC,
    PT_LOAD,
    ElfImage,
    read_elf,
)
from kdump_gdbserver.application.process.mapped_files import Mappings, file_path, is_file, same_file
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.sidecars import ProcessImage, Vma
from kdump_gdbserver.ports.libraries import Library

_DT_NULL, _DT_DEBUG = 0, 21
_MAX_ENTRIES = 1024  # of a dynamic section
_MAX_LIBRARIES = 4096
_LONGEST_PATH = 4096


def find_libraries(
    image: ProcessImage, mappings: Mappings, memory: AddressSpace, arch: Arch, page_size: int
) -> Sequence[Library]:
    """Return the libraries that are mapped, in the order of their addresses.

    There are none when the debugger can find them itself, or when the executable's headers, which
    would tell, cannot be read. A library whose headers cannot be read is left out.
    """
    for vma in mappings:
        if vma.path and vma.path == image.exe and not vma.offset:
            elf = read_elf(mappings.file_reader(vma, memory.read))
            first = next(elf.of_kind(PT_LOAD), None) if elf else None
            if elf is None or first is None:
                return ()
            dynamic = _dynamic(elf, vma.start - first.address + first.address % page_size)
            if dynamic is None or _list_is_whole(memory, arch, dynamic):
                return ()
            return tuple(_mapped(vma, mappings, memory, arch, page_size))
    return ()


def _dynamic(elf: ElfImage, offset: int) -> int | None:
    """Return where the dynamic section is; a static program has none."""
    segment = next(elf.of_kind(PT_DYNAMIC), None)
    return None if segment is None else segment.address + offset


def _list_is_whole(memory: AddressSpace, arch: Arch, dynamic: int) -> bool:
    """Whether the dynamic linker's list can be read to its end, as a debugger would."""
    word = arch.pointer_size

    def pointer(address: int) -> int:
        return memory.read_uint(address, word, arch.byte_order)

    try:
        debug = 0
        for entry in range(dynamic, dynamic + 2 * word * _MAX_ENTRIES, 2 * word):
            tag = pointer(entry)
            if tag == _DT_NULL:
                break
            if tag == _DT_DEBUG:
                debug = pointer(entry + word)
        # It is 0 before the dynamic linker has run, and then there are no libraries.
        node = pointer(debug + word) if debug else 0
        for _ in range(_MAX_LIBRARIES):
            if not node:
                break
            memory.read_cstring(pointer(node + word), _LONGEST_PATH)
            node = pointer(node + 3 * word)
    except MemoryFault:
        return False
    return True


def _mapped(
    executable: Vma, mappings: Mappings, memory: AddressSpace, arch: Arch, page_size: int
) -> Iterator[Library]:
    seen: set[Library] = set()
    for vma in mappings:
        if "x" not in vma.perms or not is_file(vma) or same_file(vma, executable):
            continue
        elf = read_elf(mappings.file_reader(vma, memory.read))
        if elf is None or elf.kind != ET_DYN or elf.machine != arch.elf_machine:
            continue
        for segment in elf.of_kind(PT_LOAD):
            begin = segment.offset - segment.offset % page_size
            if segment.flags & PF_X and begin <= vma.offset < segment.offset + segment.file_size:
                offset = vma.start - vma.offset + segment.offset - segment.address
                dynamic = _dynamic(elf, offset)
                library = Library(file_path(vma), offset, dynamic or 0)
                if dynamic is not None and library not in seen:
                    seen.add(library)
                    yield library
                break
