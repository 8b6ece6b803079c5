"""The unwind image: by its call frame information frames unwind as the kernel's ORC says."""

from __future__ import annotations

import functools
import io
import random
from itertools import pairwise

import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.entry_unwind import NoUnwindDataError, entry_unwind_image
from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, X86_64
from kdump_gdbserver.domain.kernel.orc import OrcFormat, OrcKind, OrcRegister
from kdump_gdbserver.domain.symbols.orc import OrcRow
from kdump_gdbserver.domain.symbols.unwind_dso import MOST_USER_PCS, unwind_image
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.cfi_machine import RSP, Caller, Machine, UnwindTable
from tests.support.fake_dump import FakeSymbolFile
from tests.support.orc_writer import HEADERS, write_orc, write_tables

BASE = 0x6B64_756D_7000_0000
TEXT = 0xFFFFFFFF81C00000
SPAN = 0x400
MASK = (1 << 64) - 1
KNOWN = (OrcKind.CALL, OrcKind.REGS, OrcKind.REGS_PARTIAL)
DWARF = {
    register.name: register.dwarf
    for feature in X86_64.features
    for register in feature.registers
    if register.dwarf is not None
} | {"eflags": 49, "cs": 51, "ss": 52}
# struct pt_regs, arch/x86/include/asm/ptrace.h.
PT_REGS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss"
).split()
KERNEL_CS, USER_CS = 0x10, 0x33
BASES = {
    OrcRegister.AX: "rax",
    OrcRegister.DX: "rdx",
    OrcRegister.DI: "rdi",
    OrcRegister.BP: "rbp",
    OrcRegister.SP: "rsp",
    OrcRegister.R10: "r10",
    OrcRegister.R13: "r13",
    OrcRegister.BP_INDIRECT: "rbp",
    OrcRegister.SP_INDIRECT: "rsp",
}

words = st.integers(-0x1000, 0xFFF).map(lambda n: 8 * n)
offsets = st.integers(-0x8000, 0x7FFF)


@st.composite
def known_rows(draw: st.DrawFn, start: int = TEXT, end: int = TEXT + SPAN) -> OrcRow:
    """One row that DWARF can say."""
    return OrcRow(
        start,
        end,
        draw(st.sampled_from(KNOWN)),
        draw(st.sampled_from(sorted(BASES))),
        draw(offsets),
        draw(st.sampled_from([OrcRegister.UNDEFINED, OrcRegister.PREV_SP, OrcRegister.BP])),
        draw(words),
    )


@st.composite
def many_rows(draw: st.DrawFn) -> list[OrcRow]:
    marks = sorted(draw(st.sets(st.integers(0, SPAN), min_size=2, max_size=12)))
    return [
        draw(
            st.one_of(
                known_rows(TEXT + marks[i], TEXT + marks[i + 1]),
                st.sampled_from((OrcKind.END_OF_STACK, OrcKind.UNDEFINED)).map(
                    functools.partial(OrcRow, TEXT + marks[i], TEXT + marks[i + 1])
                ),
            )
        )
        for i in range(len(marks) - 1)
    ]


def machine_of(seed: int) -> Machine:
    """Registers at random; stack pointers are such that nothing overlaps."""
    made = random.Random(seed)
    registers = {number: made.getrandbits(64) for number in DWARF.values()}
    for name in BASES.values():
        registers[DWARF[name]] = made.getrandbits(47) & ~7 | 0xFFFF8000 << 32
    return Machine(registers)


def stack_of(row: OrcRow, machine: Machine) -> int:
    """Return where the kernel finds what was saved (arch/x86/kernel/unwind_orc.c)."""
    base = machine.registers[DWARF[BASES[row.sp_register]]]
    if row.sp_register is OrcRegister.SP_INDIRECT and row.kind is OrcKind.CALL:
        return machine.word(base) + row.sp_offset & MASK
    if row.sp_register.name.endswith("INDIRECT"):
        return machine.word(base + row.sp_offset)
    return base + row.sp_offset & MASK


def symbol(table: UnwindTable, name: str) -> range:
    symbols = table.elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    (found,) = (each for each in symbols.get_symbol_by_name(name) or [] if each["st_shndx"] == 1)
    return range(found["st_value"], found["st_value"] + found["st_size"])


def expected_rbp(row: OrcRow, machine: Machine, stack: int) -> int:
    rbp = machine.registers[DWARF["rbp"]]
    if row.bp_register is OrcRegister.PREV_SP:
        return machine.word(stack + row.bp_offset)
    if row.bp_register is OrcRegister.BP:
        return machine.word(rbp + row.bp_offset)
    return machine.word(stack + 8 * PT_REGS.index("rbp")) if row.kind is OrcKind.REGS else rbp


def unwound(table: UnwindTable, pc: int, machine: Machine) -> Caller:
    caller = table.unwind(pc, machine)
    assert caller is not None
    return caller


@given(known_rows(), st.integers(0))
def test_a_row_unwinds_as_the_kernel_does_it(row: OrcRow, seed: int) -> None:
    machine = machine_of(seed)
    stack = stack_of(row, machine)
    iret = stack + 8 * PT_REGS.index("rip") if row.kind is OrcKind.REGS else stack
    machine.words[iret + 8 & MASK] = KERNEL_CS
    table = UnwindTable(unwind_image([row], BASE))
    caller = unwound(table, TEXT, machine)
    assert caller.registers[DWARF["rbp"]] == expected_rbp(row, machine, stack)
    if row.kind is OrcKind.CALL:
        assert (caller.pc, caller.registers[RSP]) == (machine.word(stack - 8), stack)
        return
    # In two steps, the second of which is a signal frame with its exact pc.
    assert caller.pc is not None
    assert caller.pc in symbol(table, "return_from_interrupt")
    assert caller.registers[RSP] == iret & MASK
    for name in ("cs", "eflags", "ss"):
        assert caller.registers[DWARF[name]] == machine.registers[DWARF[name]]
    assert table.fde_at(caller.pc) is table.fde_at(caller.pc - 1)
    machine.registers = dict(caller.registers)
    interrupted = unwound(table, caller.pc, machine)
    assert interrupted.signal_frame
    assert interrupted.pc == machine.word(iret)
    for place, name in enumerate(("cs", "eflags", "rsp", "ss"), start=1):
        assert interrupted.registers[DWARF[name]] == machine.word(iret + 8 * place), name
    for place, name in enumerate(PT_REGS[:15] if row.kind is OrcKind.REGS else []):
        if name != "rbp":
            assert interrupted.registers[DWARF[name]] == machine.word(stack + 8 * place), name


@given(known_rows(), st.integers(0), st.sampled_from([1, 2, 3]))
def test_from_user_mode_the_stack_ends_there(row: OrcRow, seed: int, level: int) -> None:
    machine = machine_of(seed)
    stack = stack_of(row, machine)
    iret = stack + 8 * PT_REGS.index("rip") if row.kind is OrcKind.REGS else stack
    machine.words[iret + 8 & MASK] = USER_CS & ~3 | level
    table = UnwindTable(unwind_image([row], BASE))
    caller = unwound(table, TEXT, machine)
    if row.kind is OrcKind.CALL:
        assert caller.pc == machine.word(stack - 8)
        return
    # Debuggers look a return address up by the byte before it.
    assert caller.pc is not None
    assert {caller.pc, caller.pc - 1} <= set(symbol(table, "user_mode"))
    for place, name in enumerate(("cs", "eflags", "rsp", "ss"), start=1):
        assert caller.registers[DWARF[name]] == machine.word(iret + 8 * place), name
    machine.registers = dict(caller.registers)
    assert unwound(table, caller.pc - 1, machine).pc is None


@given(many_rows(), st.integers(0))
def test_each_address_has_its_own_row(rows: list[OrcRow], seed: int) -> None:
    machine = machine_of(seed)
    table = UnwindTable(unwind_image(rows, BASE))
    for row in rows:
        alone = UnwindTable(unwind_image([row], BASE))
        for pc in (row.start, row.end - 1):
            assert table.unwind(pc, machine) == alone.unwind(pc, machine)
            if row.kind is OrcKind.UNDEFINED:
                assert table.fde_at(pc) is None
            elif row.kind is OrcKind.END_OF_STACK:
                assert unwound(table, pc, machine).pc is None
    assert table.fde_at(TEXT - 1) is None
    assert table.fde_at(rows[-1].end) is None


@given(st.integers(1, (1 << 56) - 1), st.integers(0))
def test_code_below_the_kernel_is_a_user_program_or_a_jump_astray(pc: int, seed: int) -> None:
    machine = machine_of(seed)
    table = UnwindTable(unwind_image([], BASE))
    stack = machine.registers[RSP]
    machine.registers[DWARF["cs"]] = KERNEL_CS
    caller = unwound(table, pc, machine)
    assert (caller.pc, caller.registers[RSP]) == (machine.word(stack), stack + 8)
    machine.registers[DWARF["cs"]] = USER_CS
    caller = unwound(table, pc, machine)
    assert caller.pc is not None
    assert {caller.pc, caller.pc - 1} <= set(symbol(table, "user_mode"))


@given(st.sets(st.integers(0, 1 << 57), min_size=1, max_size=5), st.integers(0))
def test_where_a_cpu_was_in_user_mode_its_stack_ends(pcs: set[int], seed: int) -> None:
    machine = machine_of(seed)
    machine.registers[DWARF["cs"]] = USER_CS
    table = UnwindTable(unwind_image([], BASE, pcs))
    known = {pc for pc in pcs if 0 < pc < 1 << 56}
    for pc in pcs:
        for at in (pc - 2, pc - 1, pc, pc + 1):
            if 0 < at < 1 << 56:
                # Debuggers look a caller's pc up by the byte before it.
                ends = at in known or at + 1 in known
                assert (unwound(table, at, machine).pc is None) == ends
                assert bool(names_at(table, at)) == ends
            else:
                assert table.fde_at(at) is None


@given(
    known_rows().filter(lambda row: row.kind is not OrcKind.CALL),
    st.integers(0),
    st.sets(st.integers(1, (1 << 56) - 1), min_size=1, max_size=5),
    st.booleans(),
)
def test_a_programs_own_pc_stands_in_its_frame_if_it_is_known(
    row: OrcRow, seed: int, pcs: set[int], is_known: bool
) -> None:
    machine = machine_of(seed)
    stack = stack_of(row, machine)
    iret = stack + 8 * PT_REGS.index("rip") if row.kind is OrcKind.REGS else stack
    pc = min(pcs) if is_known else max(pcs) + 1
    machine.words[iret & MASK], machine.words[iret + 8 & MASK] = pc, USER_CS
    table = UnwindTable(unwind_image([row], BASE, pcs))
    caller = unwound(table, TEXT, machine)
    assert caller.pc is not None
    if is_known:
        assert caller.pc == pc
    assert {name for at in (caller.pc - 1, caller.pc) for name in names_at(table, at)} == {
        "user_mode"
    }
    # In kernel mode the same word is a jump astray, and the CPU's words lead there.
    machine.words[iret + 8 & MASK] = KERNEL_CS
    caller = unwound(table, TEXT, machine)
    assert caller.pc is not None
    assert caller.pc in symbol(table, "return_from_interrupt")


def test_more_pcs_than_are_named_are_left_to_the_stand_in() -> None:
    table = UnwindTable(unwind_image([], BASE, range(1, 2 * MOST_USER_PCS)))
    assert names_at(table, MOST_USER_PCS) == {"user_mode"}
    assert names_at(table, MOST_USER_PCS + 1) == set()


def names_at(table: UnwindTable, address: int) -> set[str]:
    """Return the names of the symbols in whose section an address is, as gdb finds them."""
    symbols = table.elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    found = set()
    for each in symbols.iter_symbols():
        if 0 <= address - each["st_value"] < each["st_size"]:
            section = table.elf.get_section(each["st_shndx"])
            assert section["sh_flags"] & SH_FLAGS.SHF_ALLOC
            assert 0 <= address - section["sh_addr"] < section["sh_size"]
            found.add(each.name)
    return found


@given(st.integers(0), st.integers(1, 40))
def test_on_another_stack_a_function_leads_to_itself_behind_leave(seed: int, size: int) -> None:
    """As what a signal interrupted, whose stack may lie anywhere."""
    machine = machine_of(seed)
    rbp = machine.registers[DWARF["rbp"]]
    there = range(TEXT, TEXT + size)
    table = UnwindTable(unwind_image([], BASE, switches=[there]))
    for pc in (there.start, there.stop - 1):
        caller = unwound(table, pc, machine)
        assert (caller.pc, caller.signal_frame) == (there.stop, True)
        assert caller.registers[RSP] == rbp + 8 & MASK
        assert caller.registers[DWARF["rbp"]] == machine.word(rbp)
    assert table.fde_at(there.stop) is None


SWITCH = bytes.fromhex("55 4889e5 488927 4889fc 4889d7 e8ae0d2000 c9 c3")  # of Linux 5.10


@pytest.mark.parametrize(
    ("code", "leads_back"),
    [
        (SWITCH, True),
        (SWITCH.replace(bytes.fromhex("4889fc"), bytes(3)), False),  # stays where it is
        (SWITCH.replace(b"\xc9", b"\x90"), False),  # does not go back
    ],
    ids=["5.10's", "stays", "does not go back"],
)
def test_asm_call_on_stack_changes_stacks_where_its_code_says(
    code: bytes, leads_back: bool
) -> None:
    start = TEXT + SPAN
    rows = [
        OrcRow(TEXT, TEXT + 16, OrcKind.CALL, OrcRegister.SP, 8),
        OrcRow(start, start + 4, OrcKind.CALL, OrcRegister.SP, 16, OrcRegister.PREV_SP, -16),
        OrcRow(start + 4, start + 19, OrcKind.CALL, OrcRegister.BP, 16, OrcRegister.PREV_SP, -16),
        OrcRow(start + 19, start + 20, OrcKind.CALL, OrcRegister.SP, 8),
    ]
    segments, ips, entries = write_orc(rows, OrcFormat.TYPES)
    segments[HEADER_AT] = HEADERS[OrcFormat.TYPES]
    names = ("__start_orc_unwind_ip", "__stop_orc_unwind_ip")
    symbols = dict(zip(names, ips, strict=True)) | dict(
        zip(("__start_orc_unwind", "__stop_orc_unwind"), entries, strict=True)
    )
    symbols |= {"__entry_text_start": TEXT, "__entry_text_end": TEXT + 16}
    symbols["__start_orc_header"] = HEADER_AT
    image = image_of({**segments, start: code}, {**symbols, "asm_call_on_stack": start})
    assert image is not None
    expect_sound(image)
    table, machine = UnwindTable(image), machine_of(1)
    on_own = unwound(table, start + 9, machine)  # the instruction that changes stacks
    assert on_own.pc == machine.word(machine.registers[DWARF["rbp"]] + 8)
    for pc in (start + 10, start + 17, start + 18):
        caller = unwound(table, pc, machine)
        assert caller.pc == (start + 19 if leads_back else on_own.pc)
        assert caller.signal_frame is leads_back
    assert unwound(table, start + 19, machine).pc == machine.word(machine.registers[RSP])


def test_what_dwarf_cannot_say_is_left_out() -> None:
    odd = [
        OrcRow(TEXT, TEXT + 4, OrcKind.CALL, OrcRegister.PREV_SP, 8),
        OrcRow(TEXT + 4, TEXT + 8, OrcKind.CALL, OrcRegister.UNDEFINED, 8),
        OrcRow(TEXT + 8, TEXT + 12, OrcKind.CALL, OrcRegister.SP, 8, OrcRegister.PREV_SP, 3),
        OrcRow(TEXT + 12, TEXT + 16, OrcKind.REGS, OrcRegister.SP, 0, OrcRegister.R13, 0),
    ]
    good = OrcRow(TEXT + 16, TEXT + 20, OrcKind.CALL, OrcRegister.SP, 8)
    table = UnwindTable(unwind_image([*odd, good], BASE))
    assert [table.fde_at(row.start) for row in odd] == [None] * 4
    assert table.fde_at(good.start) is not None


def test_the_image_is_one_segment_at_its_address_that_holds_all() -> None:
    image = unwind_image([OrcRow(TEXT, TEXT + 4, OrcKind.CALL, OrcRegister.SP, 8)], BASE)
    elf = ELFFile(io.BytesIO(image))
    (segment,) = elf.iter_segments()
    assert (segment["p_type"], segment["p_offset"], segment["p_vaddr"]) == ("PT_LOAD", 0, BASE)
    assert segment["p_filesz"] == segment["p_memsz"] == len(image)
    assert elf["e_shoff"] + elf["e_shnum"] * elf["e_shentsize"] <= len(image)
    for name in (".text", ".eh_frame"):
        section = elf.get_section_by_name(name)
        assert section is not None
        assert section["sh_addr"] == BASE + section["sh_offset"]
        assert section["sh_offset"] + section["sh_size"] <= len(image)


# The image as it is made from a dump.

CALL, REGS = OrcKind.CALL, OrcKind.REGS
PADDING = 0x10
FUNCTIONS = {  # name: rows of 16 bytes each, with padding after them
    "entry_SYSCALL_64": (OrcKind.END_OF_STACK, REGS),
    "asm_exc_page_fault": (OrcKind.REGS_PARTIAL, REGS),
    "error_entry": (CALL, CALL),
    "__switch_to_asm": (CALL, CALL),
    "ret_from_fork": (OrcKind.END_OF_STACK, REGS),
    "some_c_function": (CALL, CALL),
}
IN_ENTRY_TEXT = 3
HEADER_AT = 0xFFFFFFFF82C00000


def kernel(
    orc_format: OrcFormat, names: dict[str, str] | None = None, header: bytes | None = None
) -> tuple[dict[int, bytes], dict[str, int]]:
    """Return memory segments and symbols; `names` renames functions.

    `header` is the ORC header, by default that of the format, where it can have one.
    """
    rows: list[OrcRow] = []
    symbols: dict[str, int] = {}
    at = TEXT
    for name, kinds in FUNCTIONS.items():
        symbols[(names or {}).get(name, name)] = at
        for kind in kinds:
            sp = OrcRegister.SP if kind in KNOWN else OrcRegister.UNDEFINED
            rows.append(OrcRow(at, at + 0x10, kind, sp, 8 if kind in KNOWN else 0))
            at += 0x10
        at += PADDING
    segments, ips, entries = write_orc(rows, orc_format)
    symbols |= {"__start_orc_unwind_ip": ips[0], "__stop_orc_unwind_ip": ips[1]}
    symbols |= {"__start_orc_unwind": entries[0], "__stop_orc_unwind": entries[1]}
    header = HEADERS.get(orc_format) if header is None else header
    if header is not None:
        symbols["__start_orc_header"] = HEADER_AT
        segments[HEADER_AT] = header
    size = IN_ENTRY_TEXT * (0x20 + PADDING)
    symbols |= {"__entry_text_start": TEXT, "__entry_text_end": TEXT + size}
    return segments, symbols


def symbols_of(memory: AddressSpace, symbols: dict[str, int]) -> KernelSymbols:
    return KernelSymbols(
        memory,
        Vmcoreinfo.parse(f"SYMBOL(_stext)={TEXT:x}\n".encode()),
        X86_64,
        FakeSymbolFile({**symbols, "_stext": TEXT}),
    )


def image_of(segments: dict[int, bytes], symbols: dict[str, int]) -> bytes | None:
    memory = SegmentedAddressSpace(segments)
    try:
        return entry_unwind_image(memory, symbols_of(memory, symbols), X86_64, BASE)
    except NoUnwindDataError:
        return None


@pytest.mark.parametrize("orc_format", [OrcFormat.SIGNAL_END, OrcFormat.TYPES])
def test_without_a_header_the_format_is_known_by_the_entries(orc_format: OrcFormat) -> None:
    segments, symbols = kernel(orc_format)
    with_header = image_of(segments, symbols)
    assert with_header is not None
    del symbols["__start_orc_header"]
    assert image_of(segments, symbols) == with_header


def test_an_unknown_header_is_no_cause_to_guess() -> None:
    segments, symbols = kernel(OrcFormat.TYPES, header=b"kdump" * 4)
    memory = SegmentedAddressSpace(segments)
    with pytest.raises(NoUnwindDataError, match=f"unknown format, {b'kdump'.hex() * 4}"):
        entry_unwind_image(memory, symbols_of(memory, symbols), X86_64, BASE)


@pytest.mark.parametrize("orc_format", OrcFormat)
def test_entry_code_is_covered_and_nothing_else(orc_format: OrcFormat) -> None:
    segments, symbols = kernel(orc_format)
    image = image_of(segments, symbols)
    assert image is not None
    table = UnwindTable(image)
    for name in FUNCTIONS:
        known = [table.fde_at(symbols[name] + at) is not None for at in (0, 0x10, 0x1F, 0x20)]
        assert known == [name != "some_c_function"] * 3 + [False], name
    machine = machine_of(1)
    for name, ends in (("asm_exc_page_fault", False), ("error_entry", False)):
        assert (unwound(table, symbols[name], machine).pc is None) is ends, name
    # The saved registers there can only be those of user mode.
    for name in ("entry_SYSCALL_64", "ret_from_fork"):
        for at in (0, 0x1F):
            assert unwound(table, symbols[name] + at, machine).pc is None, name


def test_ret_from_fork_is_left_alone_where_it_is_a_c_function() -> None:
    segments, symbols = kernel(OrcFormat.TYPES, {"__switch_to_asm": "ret_from_fork_asm"})
    image = image_of(segments, symbols)
    assert image is not None
    table = UnwindTable(image)
    assert table.fde_at(symbols["ret_from_fork_asm"]) is not None
    assert table.fde_at(symbols["ret_from_fork"]) is None


@pytest.mark.parametrize(
    "name",
    [
        *("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind"),
        *("__stop_orc_unwind", "__entry_text_start", "__entry_text_end"),
    ],
)
def test_without_the_tables_or_the_entry_code_there_is_no_image(name: str) -> None:
    segments, symbols = kernel(OrcFormat.TYPES)
    assert image_of(segments, {k: v for k, v in symbols.items() if k != name}) is None
    assert image_of({}, symbols) is None


def test_other_architectures_have_no_image() -> None:
    segments, symbols = kernel(OrcFormat.TYPES)
    memory = SegmentedAddressSpace(segments)
    with pytest.raises(NoUnwindDataError, match=r"^$"):
        entry_unwind_image(memory, symbols_of(memory, symbols), AARCH64, BASE)


@given(st.data(), st.sampled_from(OrcFormat))
def test_damaged_tables_give_a_sound_image_or_none(data: st.DataObject, order: OrcFormat) -> None:
    segments, symbols = kernel(order)
    damaged = {}
    for address, content in segments.items():
        changed = bytearray(content)
        for _ in range(data.draw(st.integers(0, 6))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        damaged[address] = bytes(changed[: data.draw(st.integers(0, len(changed)))] or changed)
    for name in data.draw(st.sets(st.sampled_from(sorted(symbols)), max_size=3)):
        symbols[name] = data.draw(st.one_of(st.integers(0, MASK), st.just(symbols[name] + 6)))
    expect_sound(image_of(damaged, symbols))


@given(st.binary(min_size=4, max_size=200), st.binary(min_size=6, max_size=300))
def test_any_bytes_give_a_sound_image_or_none(ips: bytes, entries: bytes) -> None:
    count = min(len(ips) // 4, len(entries) // 6)
    at = TEXT - 0x80000000
    segments, where_ips, where = write_tables(range(at, at + count), entries[: 6 * count], at)
    segments[at] = ips[: 4 * count]
    symbols = {"__start_orc_unwind_ip": at, "__stop_orc_unwind_ip": where_ips[1]}
    symbols |= {"__start_orc_unwind": where[0], "__stop_orc_unwind": where[1]}
    symbols |= {"__entry_text_start": at - 0x1000, "__entry_text_end": at + 0x1000}
    symbols |= {"entry_SYSCALL_64": at, "__switch_to_asm": at + 0x80}
    expect_sound(image_of(segments, symbols))


def expect_sound(image: bytes | None) -> None:
    if image is None:
        return
    table = UnwindTable(image)
    spans = sorted(
        (fde["initial_location"], fde["initial_location"] + fde["address_range"])
        for fde in table.fdes
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    for fde in table.fdes:
        assert fde.get_decoded().table
