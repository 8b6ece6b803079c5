"""Writing the ELF file of a kernel for debuggers.

Source: the System V ABI, "Object Files". The kernel's own sections have an address and a size,
but no contents (SHT_NOBITS, as in the files that `objcopy --only-keep-debug` writes): debuggers
read them from the dump.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder

PROGBITS, SYMTAB, STRTAB, NOTE, NOBITS = 1, 2, 3, 7, 8
WRITE, ALLOC, EXEC = 1, 2, 4
READABLE, WRITABLE, EXECUTABLE = 4, 2, 1
ABSOLUTE = 0xFFF1  # SHN_ABS
SYMBOL_SIZE = 24

_EHDR, _PHDR, _SHDR = "16sHHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ"
_EHDR_SIZE, _PHDR_SIZE, _SHDR_SIZE = (struct.calcsize("=" + each) for each in (_EHDR, _PHDR, _SHDR))
_ET_EXEC, _PT_LOAD = 2, 1
_NT_GNU_BUILD_ID = 3
PAGE = 0x1000
_ALIGNMENT = 16
# Where the addresses are in a section header and in a program header.
_E_ENTRY, _SH_ADDR, _P_VADDR, _P_PADDR = 24, 16, 16, 24


@dataclass(slots=True)
class Section:
    """A section; `size` matters where it has no `data`."""

    name: str
    type: int
    flags: int = 0
    address: int = 0
    data: bytes | None = None
    size: int = 0
    link: str = ""
    info: int = 0
    entry_size: int = 0
    alignment: int = 1
    # A page-aligned section begins the segment that is read from the file.
    at_page: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD; `sections`, if any, are those whose contents it loads: adjoining ones."""

    address: int
    size: int
    flags: int
    sections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A file, where each section's contents begin in it, and where its headers tell addresses."""

    file: bytes
    offsets: dict[str, int]
    header_addresses: tuple[int, ...]


def build_id_section(build_id: bytes, order: ByteOrder) -> Section:
    """Return .note.gnu.build-id."""
    mark = "<" if order == "little" else ">"
    head = struct.pack(mark + "3I", 4, len(build_id), _NT_GNU_BUILD_ID)
    note = head + b"GNU\0" + build_id + bytes(-len(build_id) % 4)
    return Section(".note.gnu.build-id", NOTE, data=note, alignment=4)


def write_elf(
    machine: int,
    order: ByteOrder,
    sections: Sequence[Section],
    segments: Sequence[Segment],
    *,
    entry: int | None = None,
) -> Placed:
    """Return a 64-bit program (ET_EXEC) of the sections in their order.

    Its entry point, unless given, is where the first segment begins: debuggers end backtraces
    where it is, and have 0 for code that they know nothing of.
    """
    prefix = "<" if order == "little" else ">"
    names = [section.name for section in sections] + [".shstrtab"]
    strings = b"\0" + b"".join(name.encode("ascii") + b"\0" for name in names)
    index = {name: number for number, name in enumerate(names, start=1)}
    all_sections = [*sections, Section(".shstrtab", STRTAB, data=strings)]
    body: list[bytes] = []
    at = _EHDR_SIZE + _PHDR_SIZE * len(segments)
    head_size = at
    headers, moving = [bytes(_SHDR_SIZE)], []
    offsets: dict[str, int] = {}
    ends: dict[str, int] = {}
    name_at = 1
    for number, section in enumerate(all_sections, start=1):
        align = PAGE if section.at_page else _ALIGNMENT if section.data is not None else 1
        padding = -at % align
        body.append(bytes(padding))
        at += padding
        offsets[section.name] = at
        size = section.size if section.data is None else len(section.data)
        fields = (name_at, section.type, section.flags, section.address, at, size)
        link = index[section.link] if section.link else 0
        headers.append(
            struct.pack(
                prefix + _SHDR, *fields, link, section.info, section.alignment, section.entry_size
            )
        )
        if section.flags & ALLOC:
            moving.append(number * _SHDR_SIZE + _SH_ADDR)
        name_at += len(section.name) + 1
        if section.data is not None:
            body.append(section.data)
            at += size
        ends[section.name] = at
    padding = -at % _ALIGNMENT
    body.append(bytes(padding))
    at += padding
    places = [at + place for place in moving]
    programs = []
    for number, segment in enumerate(segments):
        loaded = segment.sections
        start = offsets[loaded[0]] if loaded else 0
        in_file = ends[loaded[-1]] - start if loaded else 0
        # The offset in the file and the address are the same within a page.
        start = start or segment.address % PAGE
        words = (start, segment.address, segment.address, in_file, max(in_file, segment.size))
        programs.append(struct.pack(prefix + _PHDR, _PT_LOAD, segment.flags, *words, PAGE))
        header = _EHDR_SIZE + number * _PHDR_SIZE
        places += [header + _P_VADDR, header + _P_PADDR]
    ident = b"\x7fELF\x02" + (b"\1" if order == "little" else b"\2") + b"\1"
    if entry is None:
        entry = segments[0].address if segments else 0
    if entry:
        places.append(_E_ENTRY)
    head = struct.pack(
        prefix + _EHDR,
        *(ident, _ET_EXEC, machine, 1, entry, _EHDR_SIZE if segments else 0, at, 0, _EHDR_SIZE),
        *(_PHDR_SIZE, len(segments), _SHDR_SIZE, len(headers), len(headers) - 1),
    )
    file = b"".join([head, *programs, *body, *headers])
    assert len(head) + sum(map(len, programs)) == head_size
    return Placed(file, offsets, tuple(places))
