"""Headers and notes of an ELF dump, for libkdumpfile: where it would misread the file itself.

It takes the size of the section headers' string table as it stands in the file, whatever the byte
order, and everything to be where the headers say. Memory of ELF dumps is read without it.
"""

from __future__ import annotations

import os
import struct

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader

_SECTION_HEADERS = (slice(40, 48), slice(58, 64))  # e_shoff; e_shentsize, e_shnum, e_shstrndx
_PT_LOAD, _PT_NOTE = 1, 4
_PHOFF, _PHNUM = 32, 56


def needs_stub(header: FileHeader) -> bool:
    """Whether libkdumpfile cannot be given the file itself."""
    misread = header.byte_order == "big" or header.moved != 0
    return header.form == "elf" and misread and not header.flattened


def make_stub(file: int, header: FileHeader) -> int:
    """Return the descriptor of a file in memory with an ELF dump's headers and notes."""
    mark = MARKS[header.byte_order]
    entry = struct.Struct(mark + "IIQQQQQQ")
    head = bytearray(os.pread(file, 64, 0))
    (offset,) = struct.unpack_from(mark + "Q", head, _PHOFF)
    (count,) = struct.unpack_from(mark + "H", head, _PHNUM)
    for place in _SECTION_HEADERS:
        head[place] = bytes(place.stop - place.start)
    stub = os.memfd_create("headers", os.MFD_CLOEXEC)
    os.pwrite(stub, head, 0)
    for at in range(offset, offset + count * entry.size, entry.size):
        raw = os.pread(file, entry.size, at)
        kind, flags, place, virtual, physical, size, in_memory, align = entry.unpack(raw)
        if kind == _PT_LOAD:
            size = 0
        elif kind == _PT_NOTE:
            size += header.moved
        if kind != _PT_LOAD:
            os.pwrite(stub, os.pread(file, size, place), place)
        raw = entry.pack(kind, flags, place, virtual, physical, size, in_memory, align)
        os.pwrite(stub, raw, at)
    return stub
