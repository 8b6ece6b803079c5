"""A program that says which kernel it is, and nothing else."""

from __future__ import annotations

import struct

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.writers.elf_file import (
    PROGBITS,
    Section,
    build_id_section,
    write_elf,
)

# DWARF abbreviation 1, a unit without children and attributes.
_ABBREVIATIONS = b"\1\x11\0\0\0\0"


def identity_file(machine: int, byte_order: ByteOrder, build_id: bytes) -> bytes:
    """Return a 64-bit program of nothing but its build-id, for debuggers to compare.

    It has DWARF of one empty unit: debuggers would else look for a file with the DWARF of this
    build-id, and load the vmlinux that they find where it was linked. Without a build-id (b"")
    there is no note of it.
    """
    mark = "<" if byte_order == "little" else ">"
    # DWARF 4: length, version, where its abbreviations are, size of addresses; abbreviation 1.
    unit = struct.pack(mark + "IHIBB", 8, 4, 0, 8, 1)
    sections = [build_id_section(build_id, byte_order)] if build_id else []
    sections.append(Section(".debug_info", PROGBITS, data=unit))
    sections.append(Section(".debug_abbrev", PROGBITS, data=_ABBREVIATIONS))
    return write_elf(machine, byte_order, sections, ()).file
