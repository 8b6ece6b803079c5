"""Makes a kernel's symbol image out of a dump: names, types and unwind data, no vmlinux."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import compress

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.orc import (
    HEADER,
    HEADER_SIZE,
    Orc,
    OrcFormat,
    format_by_header,
    recognize_format,
)
from kdump_gdbserver.domain.symbols.btf import Btf, Kind
from kdump_gdbserver.domain.symbols.dump_types import DumpTypes
from kdump_gdbserver.domain.symbols.orc import OrcTables
from kdump_gdbserver.domain.symbols.writers import declarations, symbol_table
from kdump_gdbserver.domain.symbols.writers.dwarf_types import (
    Dwarf,
    DwarfWriter,
    FunctionCode,
    Variable,
)
from kdump_gdbserver.domain.symbols.writers.orc_frames import Frames, orc_frames
from kdump_gdbserver.domain.symbols.writers.symbol_image import SymbolImage, symbol_image
from kdump_gdbserver.domain.symbols.writers.symbol_table import NamedSymbols
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_PERCPU = "__per_cpu_start"
_ORC_STOP = "__stop_orc_unwind"
# The symbols that are asked for here: given to `DumpTypes` at once, they are found sooner.
SYMBOLS = tuple(
    sorted({*symbol_table.MARKERS, *HEADER, *Orc.ENTRY_TEXT, *Orc.NAMES, _ORC_STOP, _PERCPU})
)
# Functions that call others on the interrupt stack; in ORC they look as all do (Linux 5.8 to 5.11).
_SWITCHES = frozenset({"asm_call_on_stack", "asm_call_sysvec_on_stack", "asm_call_irq_on_stack"})
# The kernel is linked, and ends, at a multiple of this many bytes on every architecture.
_GRANULE = 2 << 20
_KERNEL_HALF = 1 << 63
_MOST_BUILD_ID = 64


class NoSymbolsError(Exception):
    """Why there is no image; the text is for people."""


def make_symbol_image(
    memory: AddressSpace, vmcoreinfo: Vmcoreinfo, arch: Arch, types: DumpTypes | None = None
) -> SymbolImage:
    """Return the symbol image of the kernel whose `memory` is given, at link-time addresses.

    `SymbolImage.relocated(vmcoreinfo.kaslr_offset or 0)` is the one for the dump's addresses. What
    cannot be had is left out; `missing` says why. `types`, if given, are of that dump. Raises
    `NoSymbolsError` when there are no symbols.
    """
    types = types or DumpTypes(memory, vmcoreinfo, arch, SYMBOLS)
    maker = _Maker(memory, vmcoreinfo, arch, types)
    return maker.make()


class _Maker:
    def __init__(
        self, memory: AddressSpace, info: Vmcoreinfo, arch: Arch, types: DumpTypes
    ) -> None:
        self._memory = memory
        self._arch = arch
        self._types = types
        self._offset = info.kaslr_offset or 0
        self._build_id = info.build_id or ""
        self._missing: list[str] = []

    def make(self) -> SymbolImage:
        kallsyms = self._types.kallsyms
        if kallsyms is None:
            raise NoSymbolsError("; ".join(self._types.problems))
        self._at = {name: at[0] for name, at in kallsyms.find(SYMBOLS).items() if len(at) == 1}
        try:
            symbols = symbol_table.named_symbols(kallsyms, self._at, self._offset)
        except ValueError as error:
            raise NoSymbolsError(str(error)) from None
        if not symbols.sections:
            # gdb 13 crashes on symbols that are in none.
            raise NoSymbolsError("nothing tells where the kernel's sections are")
        frames = self._frames(symbols)
        dwarf = self._dwarf(symbols, frames)
        first = self._types.symbol(self._arch.first_symbol)
        return symbol_image(
            self._arch.elf_machine,
            self._arch.byte_order,
            symbols,
            first=None if first is None else first - self._offset,
            build_id=self._build_id_bytes(),
            dwarf=dwarf,
            frames=frames,
            missing=tuple(self._missing),
        )

    def _build_id_bytes(self) -> bytes:
        try:
            found = bytes.fromhex(self._build_id)[:_MOST_BUILD_ID]
        except ValueError:
            found = b""
        if not found:
            self._missing.append("no build-id: VMCOREINFO has none")
        return found

    def _dwarf(self, symbols: NamedSymbols, frames: Frames | None) -> Dwarf | None:
        btf = self._types.btf
        if btf is None:
            self._missing.append(f"no types: {'; '.join(self._types.problems)}")
            return None
        code = [section for section in symbols.sections if section.has_code]
        low, high = (code[0].start, max(each.end for each in code)) if code else (0, 0)
        writer = DwarfWriter(btf, self._arch.byte_order, self._arch.pointer_size)
        functions = list(_functions(symbols))
        switches = [*(frames.switches if frames else ())]
        switches += [(f.address, f.address + f.size) for f in functions if f.name in _SWITCHES]
        dwarf = writer.write(low, high, functions, self._variables(symbols, btf), sorted(switches))
        if dwarf.damaged:
            self._missing.append(f"{dwarf.damaged:,} types: BTF is damaged there")
        return dwarf

    def _variables(self, symbols: NamedSymbols, btf: Btf) -> Iterator[Variable]:
        names = {btf[n].name for n in btf.numbers() if btf[n].kind is Kind.VAR}
        names |= declarations.DECLARED
        count: Counter[str] = Counter()
        known = {}
        for name, address, size in zip(
            symbols.names, symbols.addresses, symbols.sizes, strict=True
        ):
            if name in names:
                count[name] += 1
                known[name] = address, size
        single = {name: place for name, place in known.items() if count[name] == 1}
        start = self._at.get(_PERCPU, 0)
        start -= self._offset if start >= _KERNEL_HALF else 0
        percpu = list(declarations.percpu_variables(btf, single, start))
        yield from percpu
        for variable in percpu:
            single.pop(variable.name, None)
        yield from declarations.declared_variables(btf, single)

    def _frames(self, symbols: NamedSymbols) -> Frames | None:
        if not self._arch.has_orc:
            self._missing.append(
                f"no unwind data: kernels of {self._arch.name} carry none, and debuggers may guess"
                " wrong callers; give a vmlinux for backtraces"
            )
            return None
        try:
            return self._orc_frames(symbols)
        except LookupError as error:
            self._missing.append(f"no unwind data: no address for {error.args[0]}")
        except (MemoryFault, ValueError) as error:
            self._missing.append(f"no unwind data: {error}")
        return None

    def _orc_frames(self, symbols: NamedSymbols) -> Frames:
        ip_start, ip_stop, start = (self._at[name] for name in Orc.NAMES)
        tables = OrcTables(self._memory, (ip_start, ip_stop), (start, self._at[_ORC_STOP]))
        orc_format = self._orc_format(tables)
        starts, entries = tables.whole()
        offset, end = self._offset, max(section.end for section in symbols.sections)
        return orc_frames(
            [each - offset for each in starts], entries, orc_format, -(-end // _GRANULE) * _GRANULE
        )

    def _orc_format(self, tables: OrcTables) -> OrcFormat:
        if HEADER[0] in self._at:
            return format_by_header(self._memory.read_exact(self._at[HEADER[0]], HEADER_SIZE))
        low, high = (self._at[name] for name in Orc.ENTRY_TEXT)
        return recognize_format(flags for *_, flags in tables.slice(low, high))


def _functions(symbols: NamedSymbols) -> Iterator[FunctionCode]:
    """Yield what is code, and has a name that no other symbol has."""
    count = Counter(symbols.names)
    is_code = [kind in "tTwW" for kind in symbols.kinds]
    code = zip(symbols.names, symbols.addresses, symbols.sizes, strict=True)
    for name, address, size in compress(code, is_code):
        if size and count[name] == 1 and address >= _KERNEL_HALF:
            yield FunctionCode(name, address, size)
