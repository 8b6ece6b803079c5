"""ELF dumps of QEMU whose memory is not where their headers say.

QEMU counts the notes by those of the first CPU, then writes notes, memory and the table of section
names one after the other, without going to the places that it has announced (dump/dump.c). Where
CPUs have notes of different sizes, as arm64 ones with different SVE vector lengths in QEMU 7.2,
all that follows the notes is earlier or later by the difference.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS, ReadAt
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.kernel.notes import notes_end

_SECTION = "IIQQQQIIQQ"  # Elf64_Shdr
_SHT_STRTAB = 3
_MOST_NAMES = 1 << 16  # bytes of a table of section names
_MOST_MOVED = 16 << 20  # bytes by which the notes of the largest machine can differ
_NAMES = b".shstrtab\0"


@dataclass(frozen=True, slots=True)
class Names:
    """Where the section names stand by the header, their size, and where their own is in them."""

    offset: int
    size: int
    own: int


def find_names(read_at: ReadAt, offset: int, index: int) -> Names | None:
    """Return what the section headers at `offset` say of number `index`, the names.

    None if that is no table of names. QEMU writes these headers in its own byte order,
    whatever the dump's is.
    """
    raw = read_at(offset + index * struct.calcsize("<" + _SECTION), struct.calcsize("<" + _SECTION))
    for mark in MARKS.values():
        shape = struct.Struct(mark + _SECTION)
        if len(raw) == shape.size:
            own, kind, _, _, at, size, *_ = shape.unpack(raw)
            if kind == _SHT_STRTAB and own < size <= _MOST_NAMES:
                return Names(at, size, own)
    return None


def memory_moved(
    names: Names, notes: tuple[int, int], read_at: ReadAt, file_size: int, order: ByteOrder
) -> int | None:
    """Return by how many bytes all behind the notes is later (or, negative, earlier) than said.

    `notes` are their offset and size by the header. 0 where the file is as long as it says.
    None where it is not and the move is not proved: the file must end in the section names, and
    the notes exactly as much later as the file does.
    """
    moved = file_size - names.offset - names.size
    if not moved:
        return 0
    start, size = notes
    if abs(moved) > _MOST_MOVED or size + moved <= 0:
        return None
    table = read_at(names.offset + moved, names.size)
    if len(table) < names.size or not table.startswith(_NAMES, names.own) or table[0]:
        return None
    area = read_at(start, size + moved)
    return moved if notes_end(area, order) == len(area) == size + moved else None
