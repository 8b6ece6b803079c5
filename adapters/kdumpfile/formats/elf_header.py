"""ELF core headers: which memory a vmcore holds (System V ABI, chapters 4 and 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS, ReadAt
from kdump_gdbserver.adapters.kdumpfile.formats.extents import Extent, Extents
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader, UnusableFileError
from kdump_gdbserver.adapters.kdumpfile.formats.moved_memory import Names, find_names, memory_moved
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import ARCHITECTURES
from kdump_gdbserver.domain.kernel.notes import Note, notes_end, parse_notes

MAGIC = b"\x7fELF"
_EHDR = {order: struct.Struct(f"{mark}16sHHIQQQIHHHHHH") for order, mark in MARKS.items()}
_PHDR = {order: struct.Struct(f"{mark}IIQQQQQQ") for order, mark in MARKS.items()}
_EHDR_SIZE = 64
_ORDERS: dict[int, ByteOrder] = {1: "little", 2: "big"}  # of e_ident[EI_DATA]
_PT_LOAD = 1
_PT_NOTE = 4
_ET_CORE = 4
_PN_XNUM = 0xFFFF
_SECTION_SIZE = 64  # sizeof(Elf64_Shdr)
_SH_INFO = 44  # offset of sh_info in Elf64_Shdr
_NOTES_LIMIT = 64 << 20

_MACHINES = {arch.elf_machine: arch.name for arch in ARCHITECTURES.values()} | {
    2: "sparc",
    3: "i386",
    8: "mips",
    20: "ppc",
    40: "arm",
    43: "sparc64",
    50: "ia64",
    258: "loongarch64",
}


def read_elf_header(read_at: ReadAt, file_size: int) -> FileHeader:
    """Read the headers and notes of an ELF core.

    Raises `UnusableFileError` for any other ELF file, and for a 32-bit one.
    """
    raw = read_at(0, _EHDR_SIZE)
    if len(raw) < _EHDR_SIZE:
        raise UnusableFileError("the file ends inside its ELF header (truncated)")
    order = _ORDERS.get(raw[5])
    if raw[4] != 2 or order is None:
        raise UnusableFileError("it is a 32-bit ELF file, which is not supported")
    fields = _EHDR[order].unpack(raw)
    kind, machine, phoff, shoff, entry_size, count = (fields[i] for i in (1, 2, 5, 6, 9, 10))
    section_size, sections, names_index = fields[11:14]
    if kind != _ET_CORE:
        raise UnusableFileError("it is an ELF file but no core dump (a kernel image or a program?)")
    _check_sections(shoff, section_size, sections, file_size)
    if count == _PN_XNUM and shoff:
        count = int.from_bytes(read_at(shoff + _SH_INFO, 4), order)
    table = read_at(phoff, count * entry_size)
    phdr = _PHDR[order]
    if entry_size != phdr.size or len(table) < count * entry_size:
        raise UnusableFileError("the file ends inside its program headers (truncated)")
    header = FileHeader("elf", order, machine=_machine(machine, order))
    segments = list(phdr.iter_unpack(table))
    if not any(segment[0] == _PT_LOAD for segment in segments):
        raise UnusableFileError("it is an ELF core without memory (no PT_LOAD segment)")
    areas = [(each[2], each[5]) for each in segments if each[0] == _PT_NOTE and each[5]]
    loads = [each[2] for each in segments if each[0] == _PT_LOAD and each[5]]
    if sections and loads and len(areas) == 1 and sum(areas[0]) == min(loads):
        names = find_names(read_at, shoff, names_index)
        if names is not None:
            header.moved = _moved(names, areas[0], read_at, file_size, order)
    header.notes = list(_read_notes(header, areas, read_at))
    _place_segments(header, segments, file_size)
    return header


def _machine(number: int, order: ByteOrder) -> str | None:
    """The architecture's name; None for one whose kernels have another byte order than the file.

    Such a file may be QEMU's of a machine whose firmware a CPU was in; the user must tell.
    """
    name = _MACHINES.get(number, f"ELF machine {number}")
    known = ARCHITECTURES.get(name)
    return name if known is None or known.byte_order == order else None


def _check_sections(offset: int, size: int, count: int, file_size: int) -> None:
    """Refuse section headers that are not there: libkdumpfile reads them unchecked."""
    if not offset and not count:
        return
    if not offset or not count or size != _SECTION_SIZE:
        raise UnusableFileError("its ELF header is damaged (section headers)")
    if offset + count * size > file_size:
        raise UnusableFileError("it is truncated before its section headers")


def _moved(
    names: Names, notes: tuple[int, int], read_at: ReadAt, file_size: int, order: ByteOrder
) -> int:
    """Return by how much memory is later in the file than said; refuse what cannot be told."""
    moved = memory_moved(names, notes, read_at, file_size, order)
    if moved is None:
        start, size = notes
        end = notes_end(read_at(start, min(size, _NOTES_LIMIT)), order)
        if end != size:
            raise UnusableFileError(
                f"its notes end {size - end} bytes before the place that its header says, so all"
                " memory may be in another place, too, and the file is not as long as it says"
            )
    return moved or 0


def _read_notes(
    header: FileHeader, areas: Sequence[tuple[int, int]], read_at: ReadAt
) -> Iterator[Note]:
    for offset, said in areas:
        size = said + header.moved
        area = read_at(offset, min(size, _NOTES_LIMIT))
        if len(area) < size:
            raise UnusableFileError("its notes are damaged, or the file ends inside them")
        header.notes_unread |= any(area[notes_end(area, header.byte_order) :])
        yield from parse_notes(area, header.byte_order)


def _place_segments(
    header: FileHeader, segments: Sequence[tuple[int, ...]], file_size: int
) -> None:
    held: list[Extent] = []
    lost: list[Extent] = []
    for kind, _, said, _, physical, in_file, _, _ in segments:
        if kind == _PT_LOAD and in_file:
            offset = said + header.moved
            there = max(min(in_file, file_size - offset), 0)
            held.append(Extent(physical, physical + there, offset))
            if there < in_file:
                lost.append(Extent(physical + there, physical + in_file, offset + there))
    header.extents = Extents(held, lost)
    header.truncated = bool(lost)
