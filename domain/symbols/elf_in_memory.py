"""ELF images that debuggers load from memory, as they load a vDSO.

Source: the System V ABI, "Object Files"; its AMD64 supplement. Such an image is one read-only
segment that holds all of the file, section headers too, so that the memory at its address is the
file. Files are written by `writers.elf_file`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian, version 1
_ET_DYN = 3
_PT_LOAD = 1
_READ_EXECUTE = 5
_PROGBITS, _SYMTAB, _STRTAB, _NOBITS = 1, 2, 3, 8
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
