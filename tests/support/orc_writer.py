"""write_orc: ORC tables as objtool writes them and the kernel sorts them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kdump_gdbserver.domain.kernel.orc import OrcFormat, OrcKind
from kdump_gdbserver.domain.symbols.orc import OrcRow

TABLES_AT = 0xFFFFFFFF82C5D5C0
_TYPES = {OrcKind.CALL: 0, OrcKind.REGS: 1, OrcKind.REGS_PARTIAL: 2}
_WITH_TYPES = (OrcFormat.TYPES, OrcFormat.RENUMBERED)
_END = {OrcFormat.END: 1 << 10, OrcFormat.SIGNAL_END: 1 << 11, **dict.fromkeys(_WITH_TYPES, 1 << 8)}
_SIGNAL = {OrcFormat.END: 0, OrcFormat.SIGNAL_END: 1 << 10, **dict.fromkeys(_WITH_TYPES, 1 << 11)}
# The 20 bytes at __start_orc_header (scripts/orc_hash.sh of Linux 6.3, 6.4 and 7.1).
HEADERS = {
    OrcFormat.SIGNAL_END: bytes.fromhex("db84aed4103b31dd51e017f8f79783ca985c2c51"),
    OrcFormat.TYPES: bytes.fromhex("fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24"),
    OrcFormat.RENUMBERED: bytes.fromhex("137c36ad7627c4dd55932176bb0ecdbd5041fc82"),
}
Tables = tuple[dict[int, bytes], tuple[int, int], tuple[int, int]]


def write_entry(row: OrcRow, orc_format: OrcFormat) -> bytes:
    registers = orc_format.registers
    flags = registers.index(row.sp_register) | registers.index(row.bp_register) << 4
    if row.kind is OrcKind.END_OF_STACK:
        flags |= _END[orc_format]
    elif row.kind is not OrcKind.UNDEFINED:
        flags |= (_TYPES[row.kind] + 2 * (orc_format in _WITH_TYPES)) << 8
        if row.kind is not OrcKind.CALL:  # interrupted, as the kernel marks them
            flags |= _SIGNAL[orc_format]
    return struct.pack("<hhH", row.sp_offset, row.bp_offset, flags)


def write_tables(starts: Sequence[int], entries: bytes, at: int = TABLES_AT) -> Tables:
    """Return segments, and where the tables of addresses and of entries start and stop."""
    ips = b"".join(
        struct.pack("<i", start - (at + 4 * number)) for number, start in enumerate(starts)
    )
    between = at + len(ips)
    segments = {at: ips, between: entries}
    return segments, (at, between), (between, between + len(entries))


def write_orc(rows: Sequence[OrcRow], orc_format: OrcFormat, at: int = TABLES_AT) -> Tables:
    """Return the tables for rows in order; a gap between two is filled as objtool does."""
    filled: list[OrcRow] = []
    for row, following in zip(rows, (*rows[1:], None), strict=True):
        filled.append(row)
        if following is None or following.start > row.end:
            filled.append(OrcRow(row.end, row.end + 1, OrcKind.UNDEFINED))
    entries = b"".join(write_entry(row, orc_format) for row in filled)
    return write_tables([row.start for row in filled], entries, at)
