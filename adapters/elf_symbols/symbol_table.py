"""Looking single symbols up in an ELF file's tables, without going through all of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

_UNDEFINED = 0
_SECTION, _FILE = 3, 4  # types of symbols that name no place


class ElfSymbol(NamedTuple):
    """A symbol's value as linked, and the number of its section."""

    value: int
    section: int


class SymbolTable:
    """The raw symbols and names of one section."""

    def __init__(self, section: SymbolTableSection) -> None:
        elf = section.elffile
        order = "<" if elf.little_endian else ">"
        self._wide = elf.elfclass == 64
        self._entry = struct.Struct(order + ("IBBHQQ" if self._wide else "IIIBBH"))
        self._word = struct.Struct(order + "I")
        self._symbols: bytes = section.data()
        self._names: bytes = section.stringtable.data()

    def find(self, name: str) -> Iterator[ElfSymbol]:
        """Iterate over the symbols of that name: static ones may share theirs."""
        text = name.encode() + b"\0"
        # Linkers share the ends of names, so that any place of the text can be meant.
        offset = self._names.find(text) if name else -1
        while offset >= 0:
            yield from self._at(offset)
            offset = self._names.find(text, offset + 1)

    def _at(self, offset: int) -> Iterator[ElfSymbol]:
        wanted, size = self._word.pack(offset), self._entry.size
        at = self._symbols.find(wanted)
        while at >= 0:
            if at % size == 0 and at + size <= len(self._symbols):
                fields = self._entry.unpack_from(self._symbols, at)
                if self._wide:
                    _, info, _, section, value, _ = fields
                else:
                    _, value, _, info, _, section = fields
                if section != _UNDEFINED and info & 0xF not in (_SECTION, _FILE):
                    yield ElfSymbol(value, section)
            at = self._symbols.find(wanted, at + 1)


def symbol_tables(elf: ELFFile) -> list[SymbolTable]:
    """Return the symbol tables of a file."""
    return [SymbolTable(s) for s in elf.iter_sections() if isinstance(s, SymbolTableSection)]
