"""The symbol image: an ELF file for debuggers with a kernel's names, types and unwind data."""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.writers import elf_file
from kdump_gdbserver.domain.symbols.writers.dwarf_types import Dwarf
from kdump_gdbserver.domain.symbols.writers.elf_file import Section, Segment
from kdump_gdbserver.domain.symbols.writers.orc_frames import Frames
from kdump_gdbserver.domain.symbols.writers.symbol_table import (
    MAX_KERNEL,
    NamedSymbols,
    symbol_table,
)

_KERNEL_HALF = 1 << 63
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class SymbolImage:
    """The file, at link-time addresses; `missing` says in words what it lacks and why.

    `places` are where in the file 64-bit addresses are that move with the kernel; those of the
    symbol table, from `table` to `table_end`, come beside.
    """

    file: bytes
    order: ByteOrder
    places: array[int]
    table: int
    table_end: int
    missing: tuple[str, ...] = ()

    def relocated(self, offset: int) -> bytes:
        """Return the file for a kernel that runs `offset` above where it was linked.

        Addresses of the kernel's half move; others are offsets in the per-CPU area.
        """
        if not offset:
            return self.file
        data = bytearray(self.file)
        table = array("Q")
        table.frombytes(self.file[self.table : self.table_end])
        if self.order != sys.byteorder:
            table.byteswap()
        table[1::3] = array(
            "Q", [v + offset & _MASK if v >= _KERNEL_HALF else v for v in table[1::3]]
        )
        if self.order != sys.byteorder:
            table.byteswap()
        data[self.table : self.table_end] = table.tobytes()
        word = struct.Struct("<Q" if self.order == "little" else ">Q")
        unpack, pack = word.unpack_from, word.pack_into
        for place in self.places:
            (value,) = unpack(data, place)
            if value >= _KERNEL_HALF:
                pack(data, place, value + offset & _MASK)
        return bytes(data)


def symbol_image(
    machine: int,
    order: ByteOrder,
    symbols: NamedSymbols,
    *,
    first: int | None = None,
    build_id: bytes = b"",
    dwarf: Dwarf | None = None,
    frames: Frames | None = None,
    missing: tuple[str, ...] = (),
) -> SymbolImage:
    """Return the image. It has what of its parts there is.

    `first` is where vmlinux's first segment begins, if that is known.
    """
    sections = [
        Section(s.name, elf_file.NOBITS, s.flags, s.start, size=s.end - s.start)
        for s in symbols.sections
    ]
    # Of the kernel one segment; per-CPU variables linked at 0 belong to none: they do not move.
    inside = [s for s in symbols.sections if s.start >= _KERNEL_HALF]
    everything = elf_file.READABLE | elf_file.WRITABLE | elf_file.EXECUTABLE
    segments = []
    if inside:
        low, high = inside[0].start, max(s.end for s in inside)
        # By where the first segment is debuggers tell how far the kernel was moved.
        if first is not None and high - MAX_KERNEL <= first <= low:
            low = first
        segments.append(Segment(low, high - low, everything))
    if frames is not None:
        sections.append(
            Section(
                ".eh_frame", elf_file.PROGBITS, elf_file.ALLOC, frames.address, frames.data,
                alignment=8, at_page=True,
            )
        )  # fmt: skip
        # Debuggers want a segment around it.
        segments.append(Segment(frames.address, 0, elf_file.READABLE, (".eh_frame",)))
    if build_id:
        sections.append(elf_file.build_id_section(build_id, order))
    if dwarf is not None:
        for name, data in (
            (".debug_info", dwarf.info),
            (".debug_abbrev", dwarf.abbreviations),
            (".debug_str", dwarf.strings),
            (".debug_line", dwarf.lines),
        ):
            sections.append(Section(name, elf_file.PROGBITS, data=data))
    table = symbol_table(symbols, order)
    sections += [
        Section(
            ".symtab", elf_file.SYMTAB, data=table.table, link=".strtab", info=table.locals,
            entry_size=elf_file.SYMBOL_SIZE, alignment=8,
        ),
        Section(".strtab", elf_file.STRTAB, data=table.strings),
    ]  # fmt: skip
    placed = elf_file.write_elf(machine, order, sections, segments)
    places = array("I", placed.header_addresses)
    if dwarf is not None:
        start = placed.offsets[".debug_info"]
        places.extend([start + place for place in dwarf.addresses])
    at = placed.offsets[".symtab"]
    return SymbolImage(placed.file, order, places, at, at + len(table.table), missing)
