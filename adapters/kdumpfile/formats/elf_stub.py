"""A big-endian ELF dump for libkdumpfile: without what it reads in the wrong byte order.

It takes the size of the section headers' string table as it stands in the file, whatever the byte
order. Memory of ELF dumps is read without it, so it gets headers and notes alone.
"""

from __future__ import annotations

import os
import struct

from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader

_SECTION_HEADERS = (slice(40, 48), slice(58, 64))  # e_shoff; e_shentsize, e_shnum, e_shstrndx
_PROGRAM_HEADER = struct.Struct(">IIQQQQQQ")
_PT_LOAD = 1
_PHOFF, _PHNUM = 32, 56


def needs_stub(header: FileHeader) -> bool:
    """Whether libkdumpfile cannot be given the file itself."""
    return header.form == "elf" and header.byte_order == "big" and not header.flattened


def make_stub(file: int) -> int:
    """Return the descriptor of a file in memory with an ELF dump's headers and notes."""
    head = bytearray(os.pread(file, 64, 0))
    (offset,) = struct.unpack_from(">Q", head, _PHOFF)
    (count,) = struct.unpack_from(">H", head, _PHNUM)
    for place in _SECTION_HEADERS:
        head[place] = bytes(place.stop - place.start)
    stub = os.memfd_create("headers", os.MFD_CLOEXEC)
    os.pwrite(stub, head, 0)
    for at in range(offset, offset + count * _PROGRAM_HEADER.size, _PROGRAM_HEADER.size):
        raw = os.pread(file, _PROGRAM_HEADER.size, at)
        kind, flags, place, virtual, physical, size, in_memory, align = _PROGRAM_HEADER.unpack(raw)
        if kind == _PT_LOAD:
            fields = (kind, flags, place, virtual, physical, 0, in_memory, align)
            raw = _PROGRAM_HEADER.pack(*fields)
        else:
            os.pwrite(stub, os.pread(file, size, place), place)
        os.pwrite(stub, raw, at)
    return stub
