"""What libkdumpfile gets of a plain ELF dump: a file in memory with a few notes, and no memory.

Memory of such dumps is read without the library, and so are notes: what it does not see cannot harm
it. It takes no more than 64 KiB of notes from a file that is not mapped, those of 78 CPUs of QEMU,
and reads the section headers of big-endian files in the wrong byte order.
"""

from __future__ import annotations

import os
import struct

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader

_HEADER, _PROGRAM_HEADER = "16sHHIQQQIHHHHHH", "IIQQQQQQ"
_CLASS_64, _VERSION = 2, 1
_ORDERS = {"little": 1, "big": 2}  # of e_ident[EI_DATA]
_ET_CORE = 4
_PT_LOAD, _PT_NOTE = 1, 4
_EHDR_SIZE, _PHDR_SIZE = 64, 56
_NOTES_KEPT = 32 << 10


def make_stub(header: FileHeader) -> int:
    """Return the descriptor of a file in memory that stands for a plain ELF dump.

    It has the VMCOREINFO, and the notes of as many CPUs as fit.
    """
    mark = MARKS[header.byte_order]
    notes = b""
    for name, kind, descriptor in sorted(header.notes, key=lambda note: note.name != b"VMCOREINFO"):
        raw = struct.pack(f"{mark}III", len(name) + 1, len(descriptor), kind)
        raw += _padded(name + b"\0") + _padded(descriptor)
        if len(notes) + len(raw) <= _NOTES_KEPT:
            notes += raw
    ident = b"\x7fELF" + bytes((_CLASS_64, _ORDERS[header.byte_order], _VERSION))
    sizes = _EHDR_SIZE, _PHDR_SIZE, 2, 0, 0, 0
    where = _EHDR_SIZE + 2 * _PHDR_SIZE
    stub = os.memfd_create("headers", os.MFD_CLOEXEC)
    data = (
        struct.pack(
            mark + _HEADER,
            ident,
            _ET_CORE,
            header.elf_machine,
            _VERSION,
            0,
            _EHDR_SIZE,
            0,
            0,
            *sizes,
        )
        + struct.pack(mark + _PROGRAM_HEADER, _PT_NOTE, 0, where, 0, 0, len(notes), len(notes), 0)
        + struct.pack(mark + _PROGRAM_HEADER, _PT_LOAD, 0, where, 0, 0, 0, 0, 0)
        + notes
    )
    os.pwrite(stub, data, 0)
    return stub


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 4) * 4, b"\0")
