"""A vmlinux as a source of symbols and types."""

from __future__ import annotations

import functools
import importlib.util

from elftools.elf.elffile import ELFFile

from kdump_gdbserver.adapters.elf_symbols.symbol_table import ElfSymbol, symbol_tables
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.btf_types import MAX_BTF, BtfTypes

_ABSOLUTE = 0xFFF1
_PER_CPU = ".data..percpu"
_ADDRESS_MASK = (1 << 64) - 1


class VmlinuxTypes(Types):
    """Symbols by a vmlinux's symbol table; types by its BTF, or by its DWARF.

    BTF is there in most vmlinux files (CONFIG_DEBUG_INFO_BTF), and read in a few hundredths
    of a second. DWARF takes drgn, where that is installed: to go through 130 MB of it in
    Python takes a minute.
    """

    def __init__(self, elf: ELFFile, path: str, load_offset: int) -> None:
        """Read what is needed of `elf`, which is open only for now.

        `load_offset` is what KASLR added to every address. Raises whatever pyelftools does
        when the file is damaged.
        """
        self._path = path
        self._offset = load_offset
        self._tables = symbol_tables(elf)
        self._byte_order = "little" if elf.little_endian else "big"
        self._pointer_size = elf.elfclass // 8
        # Where the per-CPU area is linked at 0, its symbols are offsets already and do not move.
        # Linker symbols at its end count as its own, but are addresses.
        self._per_cpu = -1, 0
        for number, section in enumerate(elf.iter_sections()):
            if section.name == _PER_CPU and section["sh_addr"] == 0:
                self._per_cpu = number, section["sh_size"]
        btf = elf.get_section_by_name(".BTF")
        self._blob: bytes = btf.data() if btf is not None and btf["sh_size"] <= MAX_BTF else b""
        self._symbols: dict[str, int | None] = {}

    @functools.cached_property
    def _source(self) -> tuple[Types | None, str]:
        """The source of types, and what to say of it."""
        problem = "has no .BTF section"
        if self._blob:
            try:
                btf = Btf.parse(self._blob, "little" if self._byte_order == "little" else "big")
                return BtfTypes(btf, self._pointer_size), f"types from its BTF ({len(btf):,})"
            except ValueError as error:
                problem = f"has a damaged .BTF section ({error})"
        if importlib.util.find_spec("drgn") is None:
            return None, f"no types: it {problem}, and drgn, to read its DWARF, is not installed"
        try:
            from kdump_gdbserver.adapters.elf_symbols.drgn_types import DrgnTypes

            return DrgnTypes(self._path), "types from its DWARF, by drgn"
        except Exception as error:  # drgn's own, of a file without DWARF or a damaged one
            reason = (str(error).splitlines() or ["unknown reason"])[0]
            return None, f"no types: it {problem}, and drgn cannot read its DWARF: {reason}"

    @property
    def source(self) -> str:
        """Say in words where symbols and types are from; reads the types."""
        return f"symbols from {self._path}, {self._source[1]}"

    def symbol(self, name: str) -> int | None:
        """See `Types.symbol`; None for an ambiguous name too."""
        if name not in self._symbols:
            places = {self._place(symbol) for table in self._tables for symbol in table.find(name)}
            self._symbols[name] = places.pop() if len(places) == 1 else None
        return self._symbols[name]

    def _place(self, symbol: ElfSymbol) -> int:
        if symbol.section == _ABSOLUTE:
            return symbol.value
        number, size = self._per_cpu
        if symbol.section == number and symbol.value <= size:
            return symbol.value
        return symbol.value + self._offset & _ADDRESS_MASK

    def size(self, type_name: str) -> int | None:
        """See `Types.size`."""
        types = self._source[0]
        return types.size(type_name) if types else None

    def member(self, type_name: str, path: str) -> Member | None:
        """See `Types.member`."""
        types = self._source[0]
        return types.member(type_name, path) if types else None
