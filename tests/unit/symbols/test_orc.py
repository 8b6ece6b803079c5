"""ORC tables: what is written is found again, in every format; damage is told."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.orc import (
    OrcFormat,
    OrcKind,
    OrcRegister,
    format_by_header,
    recognize_format,
)
from kdump_gdbserver.domain.symbols.orc import OrcRow, OrcTables, to_rows
from tests.support.orc_writer import HEADERS, Tables, write_orc, write_tables

TEXT = 0xFFFFFFFF81C00000
SPAN = 0x400
KNOWN = (OrcKind.CALL, OrcKind.REGS, OrcKind.REGS_PARTIAL)
every_format = pytest.mark.parametrize("orc_format", OrcFormat)


@st.composite
def orc_rows(draw: st.DrawFn, orc_format: OrcFormat) -> list[OrcRow]:
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
                draw(st.sampled_from(orc_format.registers[1:])),
                draw(st.integers(-0x8000, 0x7FFF)),
                draw(st.sampled_from(orc_format.registers)),
                draw(st.integers(-0x8000, 0x7FFF)),
            )
        rows.append(row)
    return rows or [OrcRow(TEXT, TEXT + 4, OrcKind.END_OF_STACK)]


def tables_of(tables: Tables) -> OrcTables:
    segments, ips, entries = tables
    return OrcTables(SegmentedAddressSpace(segments), ips, entries)


def by_sp(flags: int) -> int:
    """Return flags of a row by the stack pointer, as numbered until 7.0."""
    return 5 | flags


@every_format
@given(st.data(), st.integers(0, SPAN), st.integers(1, SPAN))
def test_rows_are_found_where_they_were_written(
    orc_format: OrcFormat, data: st.DataObject, at: int, size: int
) -> None:
    rows = data.draw(orc_rows(orc_format))
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


@pytest.mark.parametrize("orc_format", set(OrcFormat) - {OrcFormat.RENUMBERED})
def test_the_format_shows_in_the_entries_of_any_entry_code(orc_format: OrcFormat) -> None:
    rows = [
        OrcRow(TEXT, TEXT + 0x10, OrcKind.END_OF_STACK),
        OrcRow(TEXT + 0x10, TEXT + 0x20, OrcKind.REGS, OrcRegister.SP),
        OrcRow(TEXT + 0x20, TEXT + 0x30, OrcKind.CALL, OrcRegister.SP, 8),
    ]
    entries = tables_of(write_orc(rows, orc_format)).slice(TEXT, TEXT + 0x31)
    assert recognize_format(flags for *_, flags in entries) is orc_format


def test_the_format_is_the_one_that_the_header_names() -> None:
    assert {name: format_by_header(header) for name, header in HEADERS.items()} == {
        name: name for name in OrcFormat if name is not OrcFormat.END
    }
    for unknown in (b"", bytes(20), HEADERS[OrcFormat.TYPES][:19]):
        with pytest.raises(ValueError, match="unknown format, " + unknown.hex()):
            format_by_header(unknown)


@pytest.mark.parametrize("orc_format", OrcFormat)
def test_numbers_that_stand_for_no_register_are_told(orc_format: OrcFormat) -> None:
    """The kernel's own numbers are those of asm/orc_types.h before and since Linux 7.1."""
    names = [getattr(orc_format.sp_register(number), "name", None) for number in range(16)]
    if orc_format is OrcFormat.RENUMBERED:
        known = "UNDEFINED AX DX SP BP DI R10 R13 PREV_SP SP_INDIRECT BP_INDIRECT"
    else:
        known = "UNDEFINED PREV_SP DX DI BP SP R10 R13 BP_INDIRECT SP_INDIRECT"
    assert [name for name in names if name] == known.split()
    assert [getattr(orc_format.bp_register(n << 4), "name", None) for n in range(16)] == names


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
        (0x0B03, OrcFormat.RENUMBERED, OrcKind.REGS),  # of 7.3
        (0x0203, OrcFormat.RENUMBERED, OrcKind.CALL),
    ],
)
def test_flags_of_real_kernels(flags: int, orc_format: OrcFormat, kind: OrcKind) -> None:
    assert orc_format.kind(flags) is kind


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([by_sp(0x8000)], "0 formats"),
        ([by_sp(0x0205), by_sp(0)], "2 formats"),
        ([0], "3 formats"),
        ([by_sp(0), 0x0100], "0 formats"),
    ],
)
def test_doubtful_entries_are_refused(flags: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recognize_format(flags)


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
