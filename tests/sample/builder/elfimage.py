"""Reads the linked kernel and loads it as a boot loader with KASLR would."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 2, 4, 8
SHF_ALLOC = 2
PT_LOAD = 1
R_64, R_PC32, R_PLT32, R_32, R_32S = 1, 2, 4, 10, 11


@dataclass(frozen=True)
class Section:
    """One section header, addresses as linked."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int


class ElfImage:
    """An x86_64 ET_EXEC file that still carries its relocations (ld -q)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        (offset,) = struct.unpack_from("<Q", data, 0x28)
        count, names = struct.unpack_from("<HH", data, 0x3C)
        raw = [struct.unpack_from("<IIQQQQIIQQ", data, offset + 64 * i) for i in range(count)]
        self.sections = [Section(self._string(raw[names][4] + s[0]), *s[1:8]) for s in raw]
        self._table = self._read_symbols()
        self.symbols = dict(self._table)

    def _string(self, offset: int) -> str:
        return self._data[offset : self._data.index(b"\0", offset)].decode()

    def _read_symbols(self) -> list[tuple[str, int]]:
        table = next(s for s in self.sections if s.type == SHT_SYMTAB)
        strings = self.sections[table.link].offset
        symbols = []
        for at in range(table.offset, table.offset + table.size, 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", self._data, at)
            symbols.append((self._string(strings + name), value))
        return symbols

    def section(self, name: str) -> Section:
        """The section of that name; KeyError if there is none."""
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    def build_id(self) -> str:
        """The GNU build ID in hex, from the note that the linker wrote."""
        at = self.section(".notes").offset
        name_size, size, _ = struct.unpack_from("<III", self._data, at)
        start = at + 12 + name_size
        return self._data[start : start + size].hex()

    def load(self, kaslr_offset: int) -> bytearray:
        """The image from _text to _end as it lies in memory, moved by kaslr_offset bytes."""
        text, end = self.symbols["_text"], self.symbols["_end"]
        memory = bytearray(end - text)
        for section in self.sections:
            if section.flags & SHF_ALLOC and section.type != SHT_NOBITS:
                at = self._position(section, section.address)
                memory[at : at + section.size] = self._data[
                    section.offset : section.offset + section.size
                ]
        for relocation in (s for s in self.sections if s.type == SHT_RELA):
            target = self.sections[relocation.info]
            if target.flags & SHF_ALLOC:
                self._relocate(memory, relocation, target, kaslr_offset)
        return memory

    def _position(self, section: Section, address: int) -> int:
        """Offset in the loaded image of an address linked into section."""
        if section.name == ".data..percpu":
            return self.symbols["__per_cpu_load"] + address - self.symbols["_text"]
        return address - self.symbols["_text"]

    def _relocate(
        self, memory: bytearray, relocation: Section, target: Section, kaslr_offset: int
    ) -> None:
        """Per-CPU symbols are offsets from a base and stay; all other addresses move."""
        for at in range(relocation.offset, relocation.offset + relocation.size, 24):
            offset, info, _ = struct.unpack_from("<QQq", self._data, at)
            kind, (name, value) = info & 0xFFFFFFFF, self._table[info >> 32]
            fixed = value < self.symbols["_text"]
            if kind in (R_PC32, R_PLT32):
                if fixed:
                    raise SystemExit(f"build of the sample failed: {name} reached from rip")
                continue
            if kind not in (R_64, R_32, R_32S):
                raise SystemExit(f"build of the sample failed: relocation type {kind} for {name}")
            if fixed:
                continue
            form = "<Q" if kind == R_64 else "<I"
            position = self._position(target, offset)
            (old,) = struct.unpack_from(form, memory, position)
            mask = (1 << 64) - 1 if kind == R_64 else (1 << 32) - 1
            struct.pack_into(form, memory, position, (old + kaslr_offset) & mask)
