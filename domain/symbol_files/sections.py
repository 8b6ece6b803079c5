"""What is read of a vmlinux, or of an image of symbols, without its contents.

Source: the ELF gABI, "Object Files". Both byte orders, 64 bits alone. Whatever the file says, no
more is read than the limits here allow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.kernel.notes import find_build_id

# Reads up to so many bytes at a file offset; fewer, or `OSError`, where bytes are missing.
Reader = Callable[[int, int], bytes]

SHT_SYMTAB, SHT_NOTE, SHT_NOBITS = 2, 7, 8
SHF_ALLOC, SHF_EXECINSTR = 2, 4
PT_LOAD = 1
EHDR, PHDR, SHDR = "16sHHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ"
_EHDR_SIZE, _PHDR_SIZE, _SHDR_SIZE, _CHDR_SIZE = 64, 56, 64, 24
_MAX_SECTIONS, _MAX_SEGMENTS, _MAX_NAMES, _MAX_NOTES = 4096, 256, 1 << 20, 1 << 16


@dataclass(frozen=True, slots=True)
class Section:
    """A section header; `address` is as linked, `offset` and `size` are bytes of the file."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int

    @property
    def allocated(self) -> bool:
        """Whether the section is part of the kernel in memory."""
        return bool(self.flags & SHF_ALLOC)


@dataclass(frozen=True, slots=True)
class ElfSections:
    """The headers of a 64-bit ELF file; `first_segment` is the address of its first PT_LOAD.

    `headers_end` is where the program headers end, `table` where that of the sections begins.
    """

    kind: int
    machine: int
    byte_order: ByteOrder
    entry: int
    first_segment: int
    first_segment_size: int
    sections: tuple[Section, ...]
    build_id: str | None
    headers_end: int
    table: int

    @property
    def parts(self) -> list[int]:
        """The offsets, in order, where headers and contents begin and end in the file.

        Of a section with DWARF its first bytes are a part: gdb looks whether it is compressed
        each time it opens the file.
        """
        contents = [each for each in self.sections if each.kind != SHT_NOBITS and each.size]
        parts = {place for each in contents for place in (each.offset, each.offset + each.size)}
        parts |= {each.offset + _CHDR_SIZE for each in contents if each.name.startswith(".debug_")}
        return sorted(parts | {self.headers_end, self.table})

    def section(self, name: str) -> Section | None:
        """Return the first section of that name."""
        return next((each for each in self.sections if each.name == name), None)


def read_sections(read: Reader, file_size: int) -> ElfSections:
    """Read the headers of a file of so many bytes; raise `ValueError` that says what is wrong.

    A file that ends before one of its sections does is cut short, and refused.
    """
    head = _exact(read, 0, _EHDR_SIZE, "the header")
    if head[:5] != b"\x7fELF\x02" or head[5] not in (1, 2):
        raise ValueError("not a 64-bit ELF file")
    byte_order: ByteOrder = "little" if head[5] == 1 else "big"
    prefix = "<" if byte_order == "little" else ">"
    _, kind, machine, _, entry, segments_at, sections_at, *numbers = struct.unpack(
        prefix + EHDR, head
    )
    _, _, segment_size, segment_count, section_size, section_count, names_in = numbers
    if section_size != _SHDR_SIZE or not 0 < names_in < section_count <= _MAX_SECTIONS:
        raise ValueError("has no table of sections")
    if segment_size != _PHDR_SIZE or not 0 < segment_count <= _MAX_SEGMENTS:
        raise ValueError("has no segments")
    raw = _exact(read, segments_at, segment_count * _PHDR_SIZE, "the segments")
    segments = list(struct.iter_unpack(prefix + PHDR, raw))
    loads = [(each[3], each[6]) for each in segments if each[0] == PT_LOAD]
    if not loads:
        raise ValueError("has no PT_LOAD segment")
    raw = _exact(read, sections_at, section_count * _SHDR_SIZE, "the table of sections")
    headers = list(struct.iter_unpack(prefix + SHDR, raw))
    names_at, names_size = headers[names_in][4:6]
    names = _exact(read, names_at, min(names_size, _MAX_NAMES), "the names of its sections")
    found = []
    for name, section_kind, flags, address, offset, size, *_ in headers[1:]:
        if section_kind != SHT_NOBITS and offset + size > file_size:
            raise ValueError("is cut short")
        end = names.find(b"\0", name)
        text = names[name:end].decode("ascii", "replace") if end >= 0 else ""
        found.append(Section(text, section_kind, flags, address, offset, size))
    return ElfSections(
        kind,
        machine,
        byte_order,
        entry,
        *loads[0],
        tuple(found),
        _build_id(found, read, byte_order),
        segments_at + segment_count * _PHDR_SIZE,
        sections_at,
    )


def _build_id(sections: list[Section], read: Reader, byte_order: ByteOrder) -> str | None:
    for section in sections:
        if section.kind == SHT_NOTE and section.size <= _MAX_NOTES:
            notes = _exact(read, section.offset, section.size, "its notes")
            build_id = find_build_id(notes, byte_order)
            if build_id is not None:
                return build_id
    return None


def _exact(read: Reader, offset: int, count: int, what: str) -> bytes:
    data = read(offset, count)
    if len(data) != count:
        raise ValueError(f"ends within {what}")
    return data


def is_vmlinux_of(read: Reader, file_size: int, build_id: str, machine: int) -> bool:
    """Whether a file is a whole vmlinux of that build-id and machine, and has DWARF."""
    try:
        file = read_sections(read, file_size)
    except (ValueError, OSError):
        return False
    return (file.build_id, file.machine) == (build_id, machine) and file.section(
        ".debug_info"
    ) is not None
