"""ORC as .eh_frame: what the rules say of any address is what ORC says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.kernel.orc import OrcFormat, OrcKind, OrcRegister
from kdump_gdbserver.domain.symbols.orc import OrcRow, OrcTables
from kdump_gdbserver.domain.symbols.writers.orc_frames import Frames, orc_frames
from kdump_gdbserver.domain.symbols.writers.symbol_image import symbol_image
from tests.support.cfi_machine import RSP, Machine, UnwindTable
from tests.support.elf_judge import judge
from tests.support.image_parts import END, OFFSET, TEXT, symbols
from tests.support.orc_writer import write_entry, write_orc

EM_X86_64 = 62
RBP = 6
FRAMES_AT = END + (2 << 20) - END % (2 << 20)
SP, BP = OrcRegister.SP, OrcRegister.BP


def frames_of(rows: list[OrcRow], orc_format: OrcFormat = OrcFormat.TYPES) -> Frames:
    segments, ips, entries = write_orc(rows, orc_format)
    starts, raw = OrcTables(SegmentedAddressSpace(segments), ips, entries).whole()
    return orc_frames(starts, raw, orc_format, FRAMES_AT)


def image_of(frames: Frames, offset: int = 0) -> bytes:
    return symbol_image(EM_X86_64, "little", symbols({}), frames=frames).relocated(offset)


def rows_at(*kinds: tuple[OrcKind, OrcRegister, int, OrcRegister, int]) -> list[OrcRow]:
    return [
        OrcRow(TEXT + 16 * number, TEXT + 16 * number + 16, *kind)
        for number, kind in enumerate(kinds)
    ]


registers = st.sampled_from([SP, BP, OrcRegister.R10, OrcRegister.R13, OrcRegister.SP_INDIRECT])
offsets = st.integers(-64, 256).map(lambda n: 8 * n)
call = st.tuples(
    st.just(OrcKind.CALL), registers, offsets,
    st.sampled_from([OrcRegister.UNDEFINED, OrcRegister.PREV_SP]), offsets.map(lambda n: -abs(n)),
)  # fmt: skip
end = st.just((OrcKind.END_OF_STACK, OrcRegister.UNDEFINED, 0, OrcRegister.UNDEFINED, 0))
interrupt = st.just((OrcKind.REGS, SP, 0, OrcRegister.UNDEFINED, 0))
formats = st.sampled_from(list(OrcFormat))


@given(st.lists(st.one_of(call, call, end, interrupt), min_size=1, max_size=30), formats)
def test_every_address_unwinds_as_orc_says(
    kinds: list[tuple[OrcKind, OrcRegister, int, OrcRegister, int]], orc_format: OrcFormat
) -> None:
    rows = rows_at(*kinds)
    frames = frames_of(rows, orc_format)
    judge(image_of(frames))
    table = UnwindTable(image_of(frames, OFFSET))
    machine = Machine({number: 0x1000 * (number + 1) for number in range(17)})
    dwarf = {SP: RSP, BP: RBP, OrcRegister.R10: 10, OrcRegister.R13: 13}
    for row in rows:
        for pc in (row.start + OFFSET, row.end + OFFSET - 1):
            if row.kind is OrcKind.REGS:
                assert table.fde_at(pc) is None
                continue
            caller = table.unwind(pc, machine)
            assert caller is not None
            if row.kind is OrcKind.END_OF_STACK:
                assert caller.pc is None
                continue
            if row.sp_register is OrcRegister.SP_INDIRECT:
                cfa = machine.word(machine.registers[RSP]) + row.sp_offset
            else:
                cfa = machine.registers[dwarf[row.sp_register]] + row.sp_offset
            cfa &= (1 << 64) - 1
            assert caller.cfa == cfa
            assert caller.pc == machine.word(cfa - 8)
            saved = row.bp_register is OrcRegister.PREV_SP
            expected = machine.word(cfa + row.bp_offset) if saved else machine.registers[RBP]
            assert caller.registers[RBP] == expected
    assert table.fde_at(rows[-1].end + OFFSET) is None


def test_code_on_another_stack_is_told() -> None:
    rows = rows_at(
        (OrcKind.CALL, SP, 8, OrcRegister.UNDEFINED, 0),
        (OrcKind.CALL, OrcRegister.SP_INDIRECT, 16, OrcRegister.UNDEFINED, 0),
        (OrcKind.CALL, SP, 8, OrcRegister.UNDEFINED, 0),
    )
    assert frames_of(rows).switches == ((TEXT + 16, TEXT + 32),)


def test_of_entries_for_one_address_the_last_counts() -> None:
    eight = OrcRow(0, 0, OrcKind.CALL, SP, 8)
    other = OrcRow(0, 0, OrcKind.CALL, SP, 32)
    gap = OrcRow(0, 0, OrcKind.UNDEFINED)
    entries = b"".join(write_entry(row, OrcFormat.TYPES) for row in (eight, other, gap))
    frames = orc_frames([TEXT, TEXT, TEXT + 4], entries, OrcFormat.TYPES, FRAMES_AT)
    caller = UnwindTable(image_of(frames)).unwind(TEXT, Machine({RSP: 0x5000, RBP: 1}))
    assert caller is not None
    assert caller.cfa == 0x5020


def test_long_runs_are_cut() -> None:
    kinds = [(OrcKind.CALL, SP, 8 + 8 * (n % 2), OrcRegister.UNDEFINED, 0) for n in range(2500)]
    table = UnwindTable(image_of(frames_of(rows_at(*kinds))))
    assert len(table.fdes) == 3
    for number in (0, 999, 1000, 1001, 2499):
        caller = table.unwind(TEXT + 16 * number, Machine({RSP: 0x5000, RBP: 1}))
        assert caller is not None
        assert caller.cfa == 0x5000 + kinds[number][2]


def test_code_too_far_away_is_an_error() -> None:
    entries = write_entry(OrcRow(0, 0, OrcKind.CALL, SP, 8), OrcFormat.TYPES)
    for at in (0, FRAMES_AT + (1 << 31)):
        with pytest.raises(ValueError, match="ORC entries from"):
            orc_frames([at], entries, OrcFormat.TYPES, FRAMES_AT)


def test_tables_out_of_order_are_an_error() -> None:
    rows = rows_at(*[(OrcKind.CALL, SP, 8, OrcRegister.UNDEFINED, 0)] * 2)
    segments, ips, entries = write_orc(rows, OrcFormat.TYPES)
    table = bytearray(segments[ips[0]])
    table[:4] = (0x7FFFFFF).to_bytes(4, "little")
    segments[ips[0]] = bytes(table)
    with pytest.raises(ValueError, match="out of order"):
        OrcTables(SegmentedAddressSpace(segments), ips, entries).whole()
