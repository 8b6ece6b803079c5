"""Parts of symbol images: a made-up kernel's symbols and types."""

from __future__ import annotations

from collections.abc import Mapping

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms, KallsymsTables, parse_tokens
from kdump_gdbserver.domain.symbols.writers.symbol_table import (
    MARKERS,
    NamedSymbols,
    named_symbols,
)
from tests.support.btf_writer import BtfWriter
from tests.support.kallsyms_writer import write_tables

TEXT = 0xFFFFFFFF81000000
OFFSET = 0x1C600000
RODATA, DATA, BSS = TEXT + 0x1000000, TEXT + 0x1800000, TEXT + 0x1C00000
END = TEXT + 0x1E00000
PERCPU_SIZE = 0x30000
MARKED = {
    "_text": TEXT, "_stext": TEXT, "_etext": TEXT + 0xF00000,
    "__start_rodata": RODATA, "__end_rodata": RODATA + 0x700000,
    "_sdata": DATA, "_edata": DATA + 0x200000,
    "__bss_start": BSS, "__bss_stop": BSS + 0x100000, "_end": END,
    "__per_cpu_start": 0, "__per_cpu_end": PERCPU_SIZE,
}  # fmt: skip
KINDS = dict.fromkeys(MARKED, "D") | {"_text": "T", "_stext": "T", "_etext": "T"}


def kallsyms(
    symbols: Mapping[str, int],
    kinds: Mapping[str, str],
    order: ByteOrder = "little",
    offset: int = OFFSET,
) -> Kallsyms:
    """Return the table of a kernel that runs `offset` above where it is linked."""
    run_time = {name: at + offset if at >= TEXT else at for name, at in symbols.items()}
    tables = write_tables(
        run_time, TEXT + offset, order, absolute_percpu=True, compress=False, kinds=kinds
    )
    tokens = parse_tokens(tables.token_table, tables.token_index, order)
    read = KallsymsTables(tables.names, tokens, tables.offsets, TEXT + offset, order)
    return Kallsyms.proved(read, {})


def symbols(
    more: Mapping[str, tuple[str, int]], order: ByteOrder = "little", offset: int = OFFSET
) -> NamedSymbols:
    """Return the symbols of a kernel: its markers, and `more`, by name: kind and address."""
    places = MARKED | {name: at for name, (_, at) in more.items()}
    kinds = KINDS | {name: kind for name, (kind, _) in more.items()}
    table = kallsyms(places, kinds, order, offset)
    markers = {name: at[0] for name, at in table.find(MARKERS).items() if len(at) == 1}
    return named_symbols(table, markers, offset)


def btf(writer: BtfWriter) -> Btf:
    return Btf.parse(writer.blob(), writer.byte_order)
