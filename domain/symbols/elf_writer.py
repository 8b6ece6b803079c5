"""Writing small ELF files for debuggers.

Source: the System V ABI, "Object Files"; its AMD64 supplement. The image to be loaded from
memory is one read-only segment that holds all of the file, section headers too, so that the
memory at its address is the file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder

_EHDR_FIELDS, _SHDR_FIELDS = "16sHHIQQQIHHHHHH", "IIQQQQIIQQ"
_EHDR = struct.Struct("<" + _EHDR_FIELDS)
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<" + _SHDR_FIELDS)
_SYMBOL = struct.Struct("<IBBHQQ")
_IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian, version 1
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD = 1
_READ_EXECUTE = 5
_PROGBITS, _SYMTAB, _STRTAB, _NOTE, _NOBITS = 1, 2, 3, 7, 8
_ALLOC, _EXECINSTR = 2, 4
_GLOBAL_FUNCTION = 1 << 4 | 2
_ALIGNMENT = 16
_FIRST_ELSEWHERE = 5  # section behind those of every image

# Where the code starts in the image: right after the headers.
CODE_OFFSET = (_EHDR.size + _PHDR.size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT


@dataclass(frozen=True, slots=True)
class Function:
    """A function symbol; `offset` and `size` in bytes of the code."""

    name: str
    offset: int
    size: int


@dataclass(slots=True)
class _Section:
    name: str
    type: int
    flags: int
    data: bytes
    link: int = 0
    info: int = 0
    entry_size: int = 0
    elsewhere: range | None = None


def elf_image(
    base: int,
    machine: int,
    code: bytes,
    functions: Sequence[Function],
    eh_frame: bytes,
    *,
    elsewhere: Sequence[tuple[str, range]] = (),
) -> bytes:
    """Return an image for address `base`: .text, .eh_frame and the functions' symbols.

    `machine` is the ELF e_machine. `.text` starts at `base + CODE_OFFSET`. `elsewhere` are names
    of code at other addresses, whose bytes are not in the image; each has a section of its own.
    """
    symbols, names = _symbols(base, functions, elsewhere)
    sections = [
        _Section(".text", _PROGBITS, _ALLOC | _EXECINSTR, code),
        _Section(".eh_frame", _PROGBITS, _ALLOC, eh_frame),
        # All but the first symbol are global; sections count from 1.
        _Section(".symtab", _SYMTAB, 0, symbols, link=4, info=1, entry_size=_SYMBOL.size),
        _Section(".strtab", _STRTAB, 0, names),
        *(
            _Section(f".{name}", _NOBITS, _ALLOC | _EXECINSTR, b"", elsewhere=place)
            for name, place in elsewhere
        ),
    ]
    section_names = b"\0" + b"".join(s.name.encode() + b"\0" for s in sections) + b".shstrtab\0"
    sections.append(_Section(".shstrtab", _STRTAB, 0, section_names))
    body = bytearray(CODE_OFFSET)
    headers = bytearray(_SHDR.size)
    for section in sections:
        body += bytes(-len(body) % _ALIGNMENT)
        address = base + len(body) if section.flags & _ALLOC else 0
        size = len(section.data)
        if section.elsewhere is not None:
            address, size = section.elsewhere.start, len(section.elsewhere)
        headers += _SHDR.pack(
            section_names.index(section.name.encode() + b"\0"),
            section.type,
            section.flags,
            address,
            len(body),
            size,
            section.link,
            section.info,
            8,
            section.entry_size,
        )
        body += section.data
    body += bytes(-len(body) % _ALIGNMENT)
    _EHDR.pack_into(
        body,
        0,
        *(_IDENT, _ET_DYN, machine, 1, 0, _EHDR.size, len(body), 0),
        *(_EHDR.size, _PHDR.size, 1, _SHDR.size, len(sections) + 1, len(sections)),
    )
    size = len(body) + len(headers)
    _PHDR.pack_into(body, _EHDR.size, _PT_LOAD, _READ_EXECUTE, 0, base, base, size, size, 0x1000)
    return bytes(body + headers)


def identity_file(machine: int, byte_order: ByteOrder, build_id: bytes) -> bytes:
    """Return a 64-bit program of nothing but its build-id, for debuggers to compare.

    It has DWARF of one empty unit: debuggers would else look for a file with the DWARF of this
    build-id, and load the vmlinux that they find where it was linked. Without a build-id (b"")
    there is no note of it.
    """
    prefix = "<" if byte_order == "little" else ">"
    note = struct.pack(prefix + "3I", 4, len(build_id), 3) + b"GNU\0" + build_id
    # DWARF 4: length, version, where its abbreviations are, size of addresses; abbreviation 1,
    # which is a unit without children and attributes.
    unit = struct.pack(prefix + "IHIBB", 8, 4, 0, 8, 1)
    sections = [(".note.gnu.build-id", _NOTE, note)] if build_id else []
    sections += [(".debug_info", _PROGBITS, unit), (".debug_abbrev", _PROGBITS, b"\1\x11\0\0\0\0")]
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in sections) + b".shstrtab\0"
    sections.append((".shstrtab", _STRTAB, names))
    body, headers = bytearray(_EHDR.size), bytearray(_SHDR.size)
    for name, kind, data in sections:
        body += bytes(-len(body) % _ALIGNMENT)
        place = (names.index(name.encode() + b"\0"), kind, 0, 0, len(body), len(data))
        headers += struct.pack(prefix + _SHDR_FIELDS, *place, 0, 0, 4, 0)
        body += data
    body += bytes(-len(body) % _ALIGNMENT)
    ident = b"\x7fELF\x02" + (b"\1" if byte_order == "little" else b"\2") + b"\1"
    struct.pack_into(
        prefix + _EHDR_FIELDS,
        body,
        0,
        *(ident, _ET_EXEC, machine, 1, 0, 0, len(body), 0),
        *(_EHDR.size, 0, 0, _SHDR.size, len(sections) + 1, len(sections)),
    )
    return bytes(body + headers)


def _symbols(
    base: int, functions: Sequence[Function], elsewhere: Sequence[tuple[str, range]]
) -> tuple[bytes, bytes]:
    """Return the symbol table and its strings."""
    places = [(each.name, 1, base + CODE_OFFSET + each.offset, each.size) for each in functions]
    for section, (name, place) in enumerate(elsewhere, start=_FIRST_ELSEWHERE):
        places.append((name, section, place.start, len(place)))
    table, names = bytearray(_SYMBOL.size), bytearray(1)
    for name, section, address, size in places:
        table += _SYMBOL.pack(len(names), _GLOBAL_FUNCTION, 0, section, address, size)
        names += name.encode() + b"\0"
    return bytes(table), bytes(names)
