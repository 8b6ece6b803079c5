"""arm64's entry code: what its own instructions say is how debuggers leave it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from elftools.elf.sections import SymbolTableSection
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.application.kernel.entry_frames import entry_frames_image
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64
from kdump_gdbserver.domain.arch.aarch64_entry import ENTRY, entry_ranges
from kdump_gdbserver.domain.arch.frames import FrameRange, KernelCode
from kdump_gdbserver.domain.symbols.frame_image import frame_image
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.cfi_machine import Caller, Machine, UnwindTable

TEXT = 0xFFFF800008010000
BASE = AARCH64.spare_address
MASK = 0xFFFF000000000000
SIZE, PC_AT = 0x150, 256  # struct pt_regs, and its pc
NOP, BRANCH, CALL = 0xD503201F, 0x14000000, 0x94000000
X29, X30, SP, PC = 29, 30, 31, 32


def stp(first: int, second: int, offset: int) -> int:
    return 0xA90003E0 | (offset // 8 & 0x7F) << 15 | second << 10 | first


def to(word: int, at: int, target: int) -> int:
    return word | (target - at >> 2) & 0x3FFFFFF


SAVE = [stp(n, n + 1, 8 * n) for n in range(0, 30, 2)]
KERNEL_ENTRY = [
    *SAVE,
    0x910003E0 | SIZE << 10 | 21,  # add x21, sp, #SIZE
    0xD538411C,  # mrs x28, sp_el0
    0xD5384036,  # mrs x22, elr_el1
    0xD5384017,  # mrs x23, spsr_el1
    stp(30, 21, 240),
    stp(29, 22, 304),
    0x910003FD | 304 << 10,  # add x29, sp, #304
    stp(22, 23, PC_AT),
    0x910003E0,  # mov x0, sp
]
SWITCH = [NOP, 0xA9BF7BFD, 0x910003FD, NOP, 0x9140101F | 16 << 5, 0xD63F0020, NOP, 0x910003BF,
          0xA8C17BFD, 0xD65F03C0]  # fmt: skip


def kernel(
    entry: list[int] = KERNEL_ENTRY, switch: list[int] = SWITCH
) -> tuple[dict[int, bytes], dict[str, int]]:
    """Return memory and symbols of a kernel's entry code."""
    names = {
        "vectors": TEXT,
        "el1h_64_irq": TEXT + 0x1000,
        "el0t_64_sync": TEXT + 0x1200,
        "ret_to_kernel": TEXT + 0x1400,
        "ret_to_user": TEXT + 0x1500,
        "call_on_irq_stack": TEXT + 0x1600,
        "ret_from_fork": TEXT + 0x1700,
        "handler": TEXT + 0x1780,
    }
    code: dict[int, int] = {}

    def put(at: int, words: list[int]) -> None:
        code.update({at + 4 * number: word for number, word in enumerate(words)})

    for name, back in (("el1h_64_irq", "ret_to_kernel"), ("el0t_64_sync", "ret_to_user")):
        end = names[name] + 4 * len(entry)
        put(names[name], entry)
        put(end, [to(CALL, end, names["handler"]), to(BRANCH, end + 4, names[back])])
    put(names["call_on_irq_stack"], switch)
    for slot, name in ((5, "el1h_64_irq"), (8, "el0t_64_sync")):
        at = TEXT + 0x80 * slot
        put(at, [0xD10003FF | SIZE << 10, *[NOP] * 5, to(BRANCH, at + 24, names[name])])
    blob = b"".join(struct.pack("<I", code.get(TEXT + at, NOP)) for at in range(0, 0x2000, 4))
    return {TEXT: blob}, names


def info_with(mask: int) -> Vmcoreinfo:
    return Vmcoreinfo.parse(f"OSRELEASE=6.1\nNUMBER(KERNELPACMASK)={mask:#x}\n".encode())


def ranges(
    segments: Mapping[int, bytes], symbols: Mapping[str, int], mask: int = MASK
) -> list[FrameRange]:
    places = sorted(symbols.values())
    code = KernelCode(
        SegmentedAddressSpace(dict(segments)),
        {name: at for name, at in symbols.items() if name in ENTRY.names},
        lambda address: next((at for at in places if at > address), None),
        info_with(mask),
    )
    found = entry_ranges(code)
    assert found == sorted(found)
    return found


def table(**code: list[int]) -> tuple[UnwindTable, dict[str, int]]:
    segments, symbols = kernel(**code)
    return UnwindTable(frame_image(ranges(segments, symbols), AARCH64, BASE)), symbols


def machine() -> Machine:
    return Machine({number: 0x1000 * number + 8 for number in range(31)} | {SP: 0xFFFF80000A000000})


def unwound(known: UnwindTable, pc: int, before: Machine) -> Caller:
    found = known.unwind(pc, before, pc_column=PC, sp_column=None)
    assert found is not None
    return found


def test_an_interrupt_leads_through_the_return_to_what_was_interrupted() -> None:
    known, symbols = table()
    before = machine()
    sp = before.registers[SP]
    handled = unwound(known, symbols["el1h_64_irq"] + 4 * len(KERNEL_ENTRY) + 4, before)
    assert (handled.pc, handled.signal_frame) == (symbols["ret_to_kernel"] + 4, False)
    assert handled.registers == before.registers  # nothing was restored yet
    after = unwound(known, symbols["ret_to_kernel"] + 4, before)
    assert after.signal_frame  # its caller made no call
    assert after.pc in (before.word(sp + PC_AT), before.word(sp + 312))  # elr, in both places
    assert [after.registers[n] for n in range(31)] == [before.word(sp + 8 * n) for n in range(31)]
    assert after.registers[SP] == before.word(sp + 248)
    # Until all is stored nothing is known.
    assert known.fde_at(symbols["el1h_64_irq"] + 4 * 3) is None


def test_the_stack_ends_where_user_mode_or_a_task_began() -> None:
    known, symbols = table()
    for name in ("el0t_64_sync", "ret_from_fork"):
        for at in (0, 0x10):
            assert unwound(known, symbols[name] + at, machine()).pc is None, name
    assert known.fde_at(symbols["handler"]) is None
    assert unwound(known, TEXT + 8 * 0x80, machine()).pc is None


def test_the_interrupt_stack_leads_back_by_the_frame_record() -> None:
    known, symbols = table()
    before, start = machine(), symbols["call_on_irq_stack"]
    called = unwound(known, start + 4 * 6 - 1, before)
    back = start + 4 * 8
    assert (called.pc, called.signal_frame, called.cfa) == (back, True, before.registers[SP])
    assert called.registers == before.registers | {SP: before.registers[X29]}
    for at in (back, start + 4 * 3):
        left = known.unwind(at, before, pc_column=X30, sp_column=SP)
        assert left is not None
        assert left.cfa == left.registers[SP] == before.registers[X29] + 16
        assert left.registers[X29] == before.word(before.registers[X29])
        assert left.pc == before.word(before.registers[X29] + 8)


@pytest.mark.parametrize("step", [0, 1])
def test_a_vector_has_a_caller_where_the_link_register_proves_it(step: int) -> None:
    """Sp at the frame record of the function that x30 leads into: not at its very caller."""
    known, _ = table()
    before = machine()
    at = TEXT + 5 * 0x80 + 4 * step
    sp = before.registers[SP] + SIZE * step
    before.registers |= {X29: sp, X30: 0x20B6A640AA2271B0}
    assert unwound(known, at, before).pc == 0xFFFFA640AA2271B0
    assert unwound(known, at, before).registers[SP] == sp
    before.words[sp + 8] = before.registers[X30]
    assert unwound(known, at, before).pc == 0
    before.words.clear()
    before.registers[X29] += 16
    assert unwound(known, at, before).pc == 0


@pytest.mark.parametrize(
    "change",
    [
        {9: NOP},  # x18 and x19 are not stored
        {15: 0x910003E0 | 8 << 10 | 21},  # the room is too small
        {17: NOP},  # elr is not read
        {2: 0xD10043FF},  # sub sp, sp, #16
        {3: stp(6, 7, 64)},  # another place
    ],
)
def test_entry_code_of_another_form_has_no_rule(change: dict[int, int]) -> None:
    entry = [change.get(number, word) for number, word in enumerate(KERNEL_ENTRY)]
    segments, symbols = kernel(entry=entry)
    starts = {each.start for each in ranges(segments, symbols)}
    low, high = symbols["el1h_64_irq"], symbols["el0t_64_sync"]
    assert not [start for start in starts if low <= start < high]
    assert symbols["ret_to_kernel"] not in starts


def test_without_symbols_or_memory_there_is_nothing() -> None:
    segments, symbols = kernel()
    assert ranges(segments, {}, mask=0) == []
    found = ranges({}, symbols, mask=0)
    assert [each.start for each in found] == [symbols["ret_from_fork"]]


@given(st.integers(TEXT, 2**64 - 1), st.sampled_from([MASK, MASK | 0xF << 48]))
def test_a_signed_return_address_leads_to_the_one_that_was_meant(meant: int, mask: int) -> None:
    """By a frame of its own, for gdb 13: it clears the bits of the code, which were set."""
    image = frame_image(ranges({}, {}, mask), AARCH64, BASE)
    known, before = UnwindTable(image), machine()
    told = int(AARCH64.machine_registers(info_with(mask))["pauth_cmask"])
    for signed in (meant, meant & ~told):
        before.registers[PC] = signed & ~told
        for looked_at in (before.registers[PC], before.registers[PC] - 1):
            caller = unwound(known, looked_at, before)
            assert (caller.pc, caller.cfa) == (meant | mask, before.registers[SP])
            assert not caller.signal_frame  # the caller made a call, its pc is behind that
    symbols = known.elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    assert [each.name for each in symbols.iter_symbols()] == ["", "signed_return_address"]


def test_without_pointer_authentication_nothing_is_known_of_signed_addresses() -> None:
    segments, symbols = kernel()
    known = UnwindTable(frame_image(ranges(segments, symbols, mask=0), AARCH64, BASE))
    assert known.fde_at(TEXT & ~MASK | 1 << 55) is None


def test_a_cpu_in_a_user_program_has_a_name_for_it_and_no_caller() -> None:
    pc = 0xAAAA_D619_141C
    dump = SimpleNamespace(facts=SimpleNamespace(arch=AARCH64), vmcoreinfo=info_with(0))
    kernels = {"pc": TEXT, "cpsr": 5}
    cpus = [Cpu(0, 0, kernels), Cpu(1, 7, {"pc": pc, "cpsr": 0x1000}), Cpu(2, 7, {"cpsr": 5})]
    survey: Any = SimpleNamespace(
        dump_memory=SimpleNamespace(dump=dump),
        symbols=SimpleNamespace(symbols=lambda names: {}, next_symbol=lambda address: None),
        memory=SegmentedAddressSpace({}),
        cpus=cpus,
    )
    image = entry_frames_image(survey, BASE)
    assert image is not None
    known = UnwindTable(image)
    assert [known.fde_at(at) is not None for at in (pc - 1, pc, pc + 1)] == [False, True, False]
    assert unwound(known, pc, machine()).pc is None
    symbols = known.elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    assert [(each.name, each["st_value"]) for each in symbols.iter_symbols()][1:] == [
        ("user_mode", pc)
    ]
    survey.cpus = cpus[:1]
    assert entry_frames_image(survey, BASE) is None


@given(st.data())
def test_damaged_code_gives_sound_ranges(data: st.DataObject) -> None:
    segments, symbols = kernel()
    blob = bytearray(segments[TEXT])
    for _ in range(data.draw(st.integers(1, 20))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(blob)))
    found = ranges({TEXT: bytes(blob[:cut])} if cut else {}, symbols)
    known = UnwindTable(frame_image(found, AARCH64, BASE)) if found else None
    for one in found:
        assert known is not None
        assert known.fde_at(one.start) is not None
