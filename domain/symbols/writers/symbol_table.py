"""The ELF symbol table of a kernel, and its sections, by kallsyms."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms
from kdump_gdbserver.domain.symbols.writers.elf_file import ABSOLUTE, ALLOC, EXEC, WRITE

_KERNEL_HALF = 1 << 63
# The largest kernel with all its data, in bytes.
MAX_KERNEL = 1 << 30
_END = "_end"
# vmlinux's sections: their names, the symbols at the beginning and at the end, and their flags.
# Source: include/asm-generic/vmlinux.lds.h, arch/*/kernel/vmlinux.lds.S.
_SECTIONS = (
    (".head.text", "_text", "_stext", EXEC),
    (".text", "_stext", "_etext", EXEC),
    (".rodata", "__start_rodata", "__end_rodata", WRITE),
    (".data", "_sdata", "_edata", WRITE),
    (".data..percpu", "__per_cpu_start", "__per_cpu_end", WRITE),
    (".init.text", "_sinittext", "_einittext", EXEC),
    (".bss", "__bss_start", "__bss_stop", WRITE),
    (".brk", "__brk_base", "__brk_limit", WRITE),
)
# The symbols that are asked for here.
MARKERS = tuple(sorted({name for _, *names, _ in _SECTIONS for name in names} | {_END}))
_PERCPU = ".data..percpu"
# What is in no section whose bounds have symbols.
_OTHER = ".kernel"
_MAX_OTHER = 100

_LOCAL, _GLOBAL, _WEAK = 0, 1 << 4, 2 << 4
_OBJECT, _FUNCTION = 1, 2
# By the letters of nm(1). What has no type is a marker in the data, which the linker put there.
_OBJECTS = dict.fromkeys("ABDGRSN", _GLOBAL | _OBJECT) | dict.fromkeys("abdgrsn", _LOCAL | _OBJECT)
_WEAKS = dict.fromkeys("VWvw", _WEAK | _OBJECT)
_IN_DATA = _OBJECTS | _WEAKS | {"T": _GLOBAL, "t": _LOCAL}
_IN_TEXT = (
    _OBJECTS
    | dict.fromkeys("VWvw", _WEAK | _FUNCTION)
    | {"T": _GLOBAL | _FUNCTION, "t": _LOCAL | _FUNCTION}
)


@dataclass(frozen=True, slots=True)
class KernelSection:
    """A section of vmlinux: the addresses from `start` to `end`."""

    name: str
    start: int
    end: int
    flags: int

    @property
    def has_code(self) -> bool:
        """Whether there is code in it."""
        return bool(self.flags & EXEC)


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """A symbol table and its strings; `locals` is how many symbols come before the others."""

    table: bytes
    strings: bytes
    locals: int


@dataclass(frozen=True, slots=True)
class NamedSymbols:
    """All symbols in order of address, as parallel sequences.

    `sizes` reach to the next symbol or to the section's end.
    """

    names: Sequence[str]
    kinds: str
    addresses: array[int]
    sizes: array[int]
    sections: Sequence[KernelSection]


def named_symbols(kallsyms: Kallsyms, markers: Mapping[str, int], offset: int) -> NamedSymbols:
    """Return all symbols at link-time addresses, `offset` below those of run time.

    `markers` are the run-time addresses of those `MARKERS` that there are. What is not of the
    kernel's half of the addresses is not moved. Raises `ValueError` when the table is damaged.
    """
    lines = kallsyms.names.all()
    start = bisect_left(kallsyms.addresses, _KERNEL_HALF)
    addresses = kallsyms.addresses
    if offset:
        moved = [address - offset for address in addresses[start:]]
        if moved and moved[0] < _KERNEL_HALF:
            raise ValueError("kallsyms: symbols lie below the kernel's offset")
        addresses = addresses[:start] + array("Q", moved)
    at = {
        name: address - offset if address >= _KERNEL_HALF else address
        for name, address in markers.items()
    }
    kinds = "".join([line[0] for line in lines])
    sections = _with_others(_told_sections(at), addresses, kinds, at.get(_END))
    return NamedSymbols(
        [line[1:] for line in lines], kinds, addresses, _sizes(addresses, sections), sections
    )


def _told_sections(at: Mapping[str, int]) -> list[KernelSection]:
    """Return the sections whose bounds are known, in order of address."""
    found = []
    for name, first, last, flags in _SECTIONS:
        start, end = at.get(first), at.get(last)
        is_kernels = start is not None and (start >= _KERNEL_HALF or name == _PERCPU)
        if start is not None and end is not None and is_kernels and 0 < end - start <= MAX_KERNEL:
            found.append(KernelSection(name, start, end, flags | ALLOC))
    apart: list[KernelSection] = []
    for section in sorted(found, key=lambda section: section.start):
        if not apart or section.start >= apart[-1].end:
            apart.append(section)
    return apart


def _with_others(
    told: list[KernelSection], addresses: array[int], kinds: str, end: int | None
) -> list[KernelSection]:
    """Put sections between those that are told where symbols are in none of them."""
    low = bisect_left(addresses, _KERNEL_HALF)
    others: list[KernelSection] = []
    edges = [(section.start, section.end) for section in told]
    if addresses and low < len(addresses):
        last = max(addresses[-1] + 1, end or 0)
        edges.append((last, last))
    before = 0
    for start, stop in edges:
        # A symbol at the end of a section belongs to that one.
        first = max(bisect_left(addresses, before + 1), low)
        behind = bisect_left(addresses, start)
        if first < behind and len(others) < _MAX_OTHER and start - addresses[first] <= MAX_KERNEL:
            has_code = not {"t", "T"}.isdisjoint(kinds[first:behind])
            flags = ALLOC | (EXEC if has_code else WRITE)
            name = f"{_OTHER}.{len(others) + 1}"
            others.append(KernelSection(name, addresses[first], start, flags))
        before = stop
    return sorted([*told, *others], key=lambda section: section.start)


def _sizes(addresses: array[int], sections: Sequence[KernelSection]) -> array[int]:
    sizes = array("Q", bytes(8 * len(addresses)))
    for section in sections:
        first = bisect_left(addresses, section.start)
        behind = bisect_left(addresses, section.end)
        following = end = section.end
        for number in range(behind - 1, first - 1, -1):
            address = addresses[number]
            if address != following:
                end, following = following, address
            sizes[number] = end - address
    return sizes


def symbol_table(symbols: NamedSymbols, order: ByteOrder) -> SymbolTable:
    """Return the table; sections are counted from 1 in the order of `symbols.sections`."""
    count = len(symbols.names)
    if len(symbols.kinds) != count or len(symbols.addresses) != count:
        raise ValueError("kallsyms: there are not as many names as addresses")
    infos, indices = _info(symbols), _section_indices(symbols)
    names = symbols.names
    starts = list(accumulate([len(name) + 1 for name in names], initial=1))[:-1]
    # st_name, st_info, st_other and st_shndx as one number.
    name_shift, info_shift, index_shift = (0, 32, 48) if order == "little" else (32, 24, 0)
    heads = [
        name << name_shift | info << info_shift | index << index_shift
        for name, info, index in zip(starts, infos, indices, strict=True)
    ]
    is_local = [info < _GLOBAL for info in infos]
    is_other = [not local for local in is_local]
    table = array("Q", bytes(24 * (len(names) + 1)))
    for column, data in enumerate((heads, symbols.addresses, symbols.sizes)):
        table[3 + column :: 3] = array("Q", [*compress(data, is_local), *compress(data, is_other)])
    if order != sys.byteorder:
        table.byteswap()
    strings = b"\0" + "\0".join(names).encode("ascii") + b"\0"
    return SymbolTable(table.tobytes(), strings, sum(is_local) + 1)


def _section_indices(symbols: NamedSymbols) -> array[int]:
    indices = array("H", [ABSOLUTE]) * len(symbols.addresses)
    for number, section in enumerate(symbols.sections, start=1):
        first = bisect_left(symbols.addresses, section.start)
        # With the symbols at its end, if no section begins there.
        behind = bisect_left(symbols.addresses, section.end + 1)
        indices[first:behind] = array("H", [number]) * (behind - first)
    return indices


def _info(symbols: NamedSymbols) -> bytes:
    """Return each symbol's binding and type."""
    infos = bytearray(map(_IN_DATA.get, symbols.kinds, [0] * len(symbols.kinds)))
    for section in symbols.sections:
        if section.has_code:
            first = bisect_left(symbols.addresses, section.start)
            behind = bisect_left(symbols.addresses, section.end)
            infos[first:behind] = bytes(
                [_IN_TEXT.get(kind, 0) for kind in symbols.kinds[first:behind]]
            )
    return bytes(infos)
