"""ORC tables: what is written is found again, in every format; damage is told."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.symbols.orc import (
    OrcFormat,
    OrcKind,
    OrcRegister,
    OrcRow,
    OrcTables,
    RawEntry,
    recognize_format,
    to_rows,
)
from tests.support.orc_writer import Tables, write_orc, write_tables

TEXT = 0xFFFFFFFF81C00000
SPAN = 0x400
KNOWN = (OrcKind.CALL, OrcKind.REGS, OrcKind.REGS_PARTIAL)
every_format = pytest.mark.parametrize("orc_format", OrcFormat)


@st.composite
def orc_rows(draw: st.DrawFn) -> list[OrcRow]:
    """Rows in order within SPAN bytes of text, some of which adjoin."""
    marks = sorted(draw(st.sets(st.integers(0, SPAN), min_size=2, max_size=24)))
    rows: list[OrcRow] = []
    for start, end in pairwise(marks):
        kind = draw(st.sampled_from([None, OrcKind.END_OF_STACK, *KNOWN]))
        if kind is None:
            continue
        row = OrcRow(TEXT + start, TEXT + end, kind)
        if kind in KNOWN:
            row = OrcRow(
                row.start,
                row.end,
                kind,
                draw(st.sampled_from(sorted(set(OrcRegister) - {OrcRegister.UNDEFINED}))),
                draw(st.integers(-0x8000, 0x7FFF)),
                draw(st.sampled_from(OrcRegister)),
                draw(st.integers(-0x8000, 0x7FFF)),
            )
        rows.append(row)
    return rows or [OrcRow(TEXT, TEXT + 4, OrcKind.END_OF_STACK)]


def tables_of(tables: Tables) -> OrcTables:
    segments, ips, entries = tables
    return OrcTables(SegmentedAddressSpace(segments), ips, entries)


def entry(sp: OrcRegister, flags: int, sp_offset: int = 8) -> RawEntry:
    return (TEXT, sp_offset, 0, sp | flags)


@given(orc_rows(), st.sampled_from(OrcFormat), st.integers(0, SPAN), st.integers(1, SPAN))
def test_rows_are_found_where_they_were_written(
    rows: list[OrcRow], orc_format: OrcFormat, at: int, size: int
) -> None:
    low, high = TEXT + at, TEXT + at + size
    found = to_rows(tables_of(write_orc(rows, orc_format)).slice(low, high), low, high, orc_format)
    for pc in range(low, high):
        written: list[OrcRow | None] = [row for row in rows if row.start <= pc < row.end]
        (expected,) = written or [None]
        holding = [row for row in found if row.start <= pc < row.end]
        if expected is None:
            assert all(row.kind is OrcKind.UNDEFINED for row in holding)
        else:
            (row,) = holding
            assert row.start == max(expected.start, low)
            assert row.end == min(expected.end, high)
            assert (row.kind, row.sp_register, row.sp_offset, row.bp_register, row.bp_offset) == (
                *(expected.kind, expected.sp_register, expected.sp_offset),
                *(expected.bp_register, expected.bp_offset),
            )


@every_format
def test_the_format_shows_in_the_entries_of_any_entry_code(orc_format: OrcFormat) -> None:
    rows = [
        OrcRow(TEXT, TEXT + 0x10, OrcKind.END_OF_STACK),
        OrcRow(TEXT + 0x10, TEXT + 0x20, OrcKind.REGS, OrcRegister.SP),
        OrcRow(TEXT + 0x20, TEXT + 0x30, OrcKind.CALL, OrcRegister.SP, 8),
    ]
    entries = tables_of(write_orc(rows, orc_format)).slice(TEXT, TEXT + 0x31)
    assert recognize_format(entries) is orc_format


@pytest.mark.parametrize(
    ("flags", "orc_format", "kind"),
    [  # from vmlinux files of Debian's 6.1 and 6.12 kernels, entry_SYSCALL_64 and others
        (0x0400, OrcFormat.END, OrcKind.END_OF_STACK),
        (0x0105, OrcFormat.END, OrcKind.REGS),
        (0x0005, OrcFormat.END, OrcKind.CALL),
        (0x0000, OrcFormat.END, OrcKind.UNDEFINED),
        (0x0100, OrcFormat.TYPES, OrcKind.END_OF_STACK),
        (0x0B05, OrcFormat.TYPES, OrcKind.REGS),
        (0x0205, OrcFormat.TYPES, OrcKind.CALL),
        (0x0000, OrcFormat.TYPES, OrcKind.UNDEFINED),
    ],
)
def test_flags_of_real_kernels(flags: int, orc_format: OrcFormat, kind: OrcKind) -> None:
    assert orc_format.kind(flags) is kind


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry(OrcRegister.SP, 0x8000)], "0 formats"),
        ([entry(OrcRegister.SP, 0x0205), entry(OrcRegister.SP, 0)], "2 formats"),
        ([entry(OrcRegister.UNDEFINED, 0)], "3 formats"),
        ([entry(OrcRegister.SP, 0), entry(OrcRegister.UNDEFINED, 0x0100)], "0 formats"),
    ],
)
def test_doubtful_entries_are_refused(entries: list[RawEntry], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recognize_format(entries)


def test_of_two_entries_for_an_address_the_last_counts() -> None:
    entries = struct.pack("<hhHhhHhhH", 0, 0, 0, 16, 0, 0x0205, 0, 0, 0)
    tables = tables_of(write_tables([TEXT, TEXT, TEXT + 8], entries))
    (row,) = to_rows(tables.slice(TEXT, TEXT + 8), TEXT, TEXT + 8, OrcFormat.TYPES)
    assert row == OrcRow(TEXT, TEXT + 8, OrcKind.CALL, OrcRegister.SP, 16)


@every_format
def test_a_function_ends_where_nothing_is_known(orc_format: OrcFormat) -> None:
    first = OrcRow(TEXT, TEXT + 0x10, OrcKind.CALL, OrcRegister.SP, 8)
    second = OrcRow(TEXT + 0x10, TEXT + 0x18, OrcKind.CALL, OrcRegister.SP, 16)
    other = OrcRow(TEXT + 0x20, TEXT + 0x28, OrcKind.CALL, OrcRegister.SP, 8)
    tables = tables_of(write_orc([first, second, other], orc_format))
    assert tables.function(TEXT, orc_format) == [first, second]
    assert tables.function(TEXT + 0x18, orc_format) == []
    endless = tables_of(write_tables([TEXT], struct.pack("<hhH", 8, 0, 5)))
    with pytest.raises(ValueError, match="no end"):
        endless.function(TEXT, OrcFormat.END)


@pytest.mark.parametrize(
    ("ips", "entries"), [((0, 8), (8, 8 + 18)), ((8, 0), (8, 20)), ((0, 0), (0, 0))]
)
def test_tables_that_differ_in_length_are_refused(
    ips: tuple[int, int], entries: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="length"):
        OrcTables(SegmentedAddressSpace({}), ips, entries)


def test_entries_out_of_order_and_missing_ones_are_told() -> None:
    entries = struct.pack("<hhH", 8, 0, 5) * 3
    segments, ips, where = write_tables([TEXT, TEXT + 9, TEXT + 4], entries)
    with pytest.raises(ValueError, match="order"):
        OrcTables(SegmentedAddressSpace(segments), ips, where).slice(TEXT, TEXT + 0x10)
    segments.pop(where[0])
    with pytest.raises(MemoryFault):
        OrcTables(SegmentedAddressSpace(segments), ips, where).slice(TEXT, TEXT + 8)
