"""Unwinding from an interrupt stack: the kernel's tables, and what gdb is told."""

import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gdb_script.fakes import FakeMemory

IPS = 0xFFFF_FFFF_8300_0000
ROWS = 0xFFFF_FFFF_8310_0000
TEXT = 0xFFFF_FFFF_8100_0000
PC = TEXT + 0x108  # behind a call on the interrupt stack
ENTRY = TEXT + 0x216  # behind the entry code's call
TOP = 0xFFFF_C900_000D_8FF8  # of the interrupt stack
TASK = 0xFFFF_C900_0009_BE10  # the stack pointer of before, lower than the interrupt stack
IMAGE = 0x6B64_756D_7000_0080
HEADER = 0xFFFF_FFFF_8350_0000
UNCHANGED, PREV_SP, BP, SP, R10, SP_INDIRECT = 0, 1, 4, 5, 6, 9


class Format:
    """How flags are written: the type of a call, of registers, all flags of a stack's end."""

    def __init__(self, call, regs, end, header=None, renumbered=False):
        self.call, self.regs, self.end = call, regs, end
        self.header = header and bytes.fromhex(header)
        self.numbers = {PREV_SP: 8, SP: 3} if renumbered else {}

    def flags(self, sp_register, bp_register=UNCHANGED, kind=None):
        sp, bp = (self.numbers.get(number, number) for number in (sp_register, bp_register))
        return sp | bp << 4 | (self.call if kind is None else kind) << 8


BEFORE_6_3 = Format(0, 1, 1 << 10)
FORMATS = [
    BEFORE_6_3,
    Format(0, 5, 1 << 11),  # 6.3
    Format(2, 3, 1 << 8),  # 6.4, of a distribution without header
    Format(2, 11, 1 << 8, "fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24"),
    Format(2, 11, 1 << 8, "137c36ad7627c4dd55932176bb0ecdbd5041fc82", renumbered=True),
]
every_format = pytest.mark.parametrize("form", FORMATS)


def tables(script, rows):
    """The tables in memory; rows are (first address, sp_offset, bp_offset, flags)."""
    raw = FakeMemory(script)
    ips = b"".join(
        struct.pack("<i", row[0] - (IPS + 4 * number)) for number, row in enumerate(rows)
    )
    raw.map(IPS, ips)
    raw.map(ROWS, b"".join(struct.pack("<hhH", *row[1:]) for row in rows))
    return raw


def orc(script, raw, count, form=BEFORE_6_3):
    names = (*script.orc.Orc.NAMES, *script.orc.Orc.ENTRY_TEXT)
    places = dict(zip(names, (IPS, IPS + 4 * count, ROWS, TEXT, TEXT + 0x400), strict=True))
    if form.header:
        places[script.orc.HEADER[0]] = HEADER
        raw.map(HEADER, form.header)
    return script.orc.Orc(script.memory.Memory(raw.fetch), places)


def interrupted(script, form=BEFORE_6_3, bp_register=PREV_SP, in_function=None, in_entry=None):
    """A function with 2 registers pushed that runs on the interrupt stack, and its stacks.

    `in_function` and `in_entry` are the types of their rows, where they are not as they should be.
    """
    entry_kind = form.regs if in_entry is None else in_entry
    rows = [
        (TEXT + 0x0F0, 24, -24, form.flags(SP, PREV_SP)),
        (TEXT + 0x100, 24, -24, form.flags(SP_INDIRECT, bp_register, in_function)),
        (TEXT + 0x109, 24, -24, form.flags(SP, PREV_SP)),
        (TEXT + 0x200, 0, 0, form.flags(SP, UNCHANGED, entry_kind)),
        (TEXT + 0x300, 0, 0, 0),
        (TEXT + 0x380, 0, 0, form.end),
    ]
    raw = tables(script, rows)
    raw.map(TOP, TASK.to_bytes(8, "little"))
    pushed = (0xB0B, 0xB9, ENTRY)
    raw.map(TASK, struct.pack("<24Q", *pushed, *range(100, 121)))
    return raw, orc(script, raw, len(rows), form)


@given(st.data())
def test_the_row_is_the_last_one_at_or_below(script, data):
    starts = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=40).map(sorted))
    rows = [(TEXT + start, number, 0, 0) for number, start in enumerate(starts)]
    rows.append((TEXT + 500, 0, 0, BEFORE_6_3.end))
    rows.append((TEXT + 510, 0, 0, BEFORE_6_3.flags(SP, kind=BEFORE_6_3.regs)))
    found = orc(script, tables(script, rows), len(rows))
    pc = TEXT + data.draw(st.integers(0, 450))
    below = [row for row in rows if row[0] <= pc]
    if below:
        assert found.row(pc) == below[-1][1:]
    else:
        with pytest.raises(script.errors.KdumpError):
            found.row(pc)


@every_format
@pytest.mark.parametrize("pc", [TEXT + 0x100, PC])
def test_the_caller_is_found_from_the_saved_stack_pointer(script, form, pc):
    _, found = interrupted(script, form)
    assert found.caller(pc, TOP, 7) == {"rsp": TASK + 24, "rip": ENTRY, "rbp": 0xB0B}


@pytest.mark.parametrize("pc", [TEXT + 0xFF, TEXT + 0x109, TEXT + 0x250, TEXT + 0x301])
def test_a_function_that_is_not_on_the_other_stack_is_left_alone(script, pc):
    _, found = interrupted(script)
    assert found.caller(pc, TOP, 7) is None


def test_entry_code_that_does_it_is_left_alone(script):
    _, found = interrupted(script, in_function=1)
    assert found.caller(PC, TOP, 7) is None


@pytest.mark.parametrize(
    ("bp_register", "bp", "rbp"),
    [(UNCHANGED, 7, 7), (UNCHANGED, None, None), (BP, TASK + 32, 0xB9), (BP, None, None)]
    + [(R10, 7, None), (PREV_SP, None, 0xB0B)],
)
def test_rbp_is_the_callers_or_unknown(script, bp_register, bp, rbp):
    _, found = interrupted(script, bp_register=bp_register)
    assert found.caller(PC, TOP, bp).get("rbp") == rbp


def test_a_stack_that_is_not_in_the_dump_is_an_error(script):
    raw, found = interrupted(script)
    raw.poke(TOP, TASK + 0x10_0000)
    with pytest.raises(script.errors.Unreadable):
        found.caller(PC, TOP, 7)


@every_format
def test_entry_code_has_a_pt_regs_in_every_kernel(script, form):
    _, found = interrupted(script, form)
    assert found.saved(ENTRY) == 0
    assert found.saved(TEXT + 0x300) == 0  # a return address, even if the call comes last


@every_format
def test_a_plain_caller_has_no_pt_regs(script, form):
    _, found = interrupted(script, form, in_entry=form.call)
    assert found.saved(ENTRY) is None


def test_tables_of_an_unknown_format_are_not_read(script):
    form = Format(2, 11, 1 << 8, "00" * 20)
    with pytest.raises(script.errors.KdumpError, match="unknown format"):
        interrupted(script, form)


@every_format
def test_a_stack_changed_by_assembly_code_is_known_by_rbp(script, form):
    """asm_call_on_stack() of 5.8 to 5.11: rbp and the stack's last word are the same."""
    rows = [(TEXT, 16, -16, form.flags(BP, PREV_SP)), (TEXT + 0x80, 0, 0, form.end)]
    raw = tables(script, [*rows, (TEXT + 0x90, 0, 0, form.flags(SP, UNCHANGED, form.regs))])
    raw.map(TOP, TASK.to_bytes(8, "little"))
    raw.map(TASK, struct.pack("<2Q", 0xB0B, ENTRY))
    found = orc(script, raw, 3, form)
    assert found.caller(TEXT + 8, TOP, TASK) == {"rsp": TASK + 16, "rip": ENTRY, "rbp": 0xB0B}
    assert found.caller(TEXT + 8, TOP, TASK + 8) is None
    assert found.caller(TEXT + 8, TOP, None) is None


@every_format
def test_between_that_and_entry_code_are_plain_calls(script, form):
    _, found = interrupted(script, form)
    sp = TASK + 24 - 24
    assert found.plain_caller(TEXT + 0xF8, sp, 7) == {"rsp": TASK + 24, "rip": ENTRY, "rbp": 0xB0B}
    assert found.plain_caller(ENTRY, sp, 7) is None  # entry code
    assert found.plain_caller(PC, sp, 7) is None  # on another stack


# ------------------------------------------------------------------------ as gdb calls it


class Value(int):
    """gdb.Value of an integer or address."""

    type = "its type"

    def cast(self, kind):
        assert kind == self.type
        return self


class Frame:
    """gdb.PendingFrame: what is not in its registers cannot be read."""

    def __init__(self, script, arch="i386:x86-64", **registers):
        self.script = script
        self.arch = arch
        self.registers = registers
        self.frame_id = None
        self.saved = {}

    def architecture(self):
        return SimpleNamespace(name=lambda: self.arch)

    def read_register(self, name):
        if self.registers.get(name, 0) is None:
            raise self.script.target.gdb.error("value is not available")
        return Value(self.registers.get(name, 0))

    def create_unwind_info(self, frame_id):
        self.frame_id = (frame_id.sp, frame_id.pc)
        return self

    def add_saved_register(self, name, value):
        self.saved[name] = value


LINKED = 0x2600000  # by how much the kernel is moved


def elf(symbols, names=None):
    """A vmlinux of nothing but a symbol table."""
    strings = names or b"\0" + b"".join(name.encode() + b"\0" for name in symbols)
    table = bytes(24)
    for name, value in symbols.items():
        at = strings.index(name.encode() + b"\0")
        table += struct.pack("<I2BH2Q", at, 0x10, 0, 1, value, 0)
    contents = [(0, b""), (3, b"\0names\0"), (2, table), (3, strings)]
    data, headers = b"\0" * 64, b""
    for kind, content in contents:
        headers += struct.pack("<2I4Q2I2Q", 0, kind, 0, 0, len(data), len(content), 3, 0, 8, 24)
        data += content
    start = b"\x7fELF\x02\x01\x01".ljust(40, b"\0") + struct.pack("<Q", len(data))
    return (
        (start.ljust(58, b"\0") + struct.pack("<3H", 64, len(contents), 1))[:64]
        + data[64:]
        + headers
    )


def test_symbols_are_found_where_they_are_linked(script, tmp_path):
    """One name's text is the end of another's, as linkers do it."""
    file = tmp_path / "vmlinux"
    symbols = {"__pfx_unwind": 16, "unwind": 32, "other": 48}
    for names in (None, b"\0__pfx_unwind\0other\0", b"\0unwind\0__pfx_unwind\0other\0"):
        file.write_bytes(elf(symbols, names))
        assert script.elf_file.linked_at(str(file), ["unwind", "missing"]) == {"unwind": 32}


def test_a_damaged_or_missing_file_has_no_symbols(script, tmp_path):
    file = tmp_path / "vmlinux"
    whole = elf({"unwind": 32})
    assert script.elf_file.linked_at(str(file), ["unwind"]) == {}
    for size in range(0, len(whole) - 16, 3):
        file.write_bytes(whole[:size])
        assert script.elf_file.linked_at(str(file), ["unwind"]) == {}
    file.write_bytes(whole.replace(struct.pack("<2I", 0, 2), struct.pack("<2I", 0, 1)))
    assert script.elf_file.linked_at(str(file), ["unwind"]) == {}


@pytest.fixture
def session(script, monkeypatch, tmp_path):
    """A gdb with symbols and a dump; the memory is `session.raw`."""
    raw, tables_ = interrupted(script)
    raw.map(IMAGE, b"\x90\x48\xcf".ljust(64, b"\x90"))
    addresses = (TEXT, IPS, IPS + 4 * tables_.count, ROWS, TEXT, TEXT + 0x400)
    names = (script.orc.Orc.FUNCTION, *script.orc.Orc.NAMES, *script.orc.Orc.ENTRY_TEXT)
    vmlinux = tmp_path / "vmlinux"
    state = SimpleNamespace(raw=raw, vmlinux=vmlinux)
    state.linked = {n: address - LINKED for n, address in zip(names, addresses, strict=True)}
    vmlinux.write_bytes(elf(state.linked))
    state.function = SimpleNamespace(
        symtab=SimpleNamespace(objfile=SimpleNamespace(filename=str(vmlinux))),
        value=lambda: SimpleNamespace(address=Value(TEXT)),
    )

    def read(address, size):
        try:
            return raw.fetch(address, size)
        except script.errors.Unreadable:
            raise script.target.gdb.MemoryError("no memory") from None

    inferior = SimpleNamespace(read_memory=read)
    monkeypatch.setattr(script.target.gdb, "selected_inferior", lambda: inferior, raising=False)
    monkeypatch.setattr(
        script.target.gdb, "lookup_global_symbol", lambda name: state.function, raising=False
    )
    monkeypatch.setattr(script.target.gdb, "Value", Value, raising=False)
    state.unwind = script.interrupt_stacks.InterruptStacks()
    state.frame = lambda **registers: Frame(
        script, **{"rsp": TOP, "rip": PC, "rbp": 7, **registers}
    )
    return state


def test_sourcing_the_script_registers_it(script):
    registered = script.target.gdb.unwinder.registered  # more than once if sourced again
    assert {(locus, unwinder.name, replace) for locus, unwinder, replace in registered} == {
        (None, "kdump-interrupt-stacks", True),
        (None, "kdump-arm64-frames", True),
    }


def test_the_interrupt_stacks_frame_leads_to_entry_code(session):
    frame = session.frame()
    assert session.unwind(frame) is frame
    assert frame.frame_id == (TOP, PC)
    assert frame.saved == {"rsp": TASK + 24, "rip": ENTRY, "rbp": 0xB0B}


@pytest.mark.parametrize(("cs", "back_to"), [(0x10, IMAGE + 1), (0x33, IMAGE + 49)])
def test_entry_code_leads_to_the_return_from_the_interrupt(session, cs, back_to):
    """As the server's image has it, and the id's stack address does not go down."""
    session.unwind(session.frame())
    session.raw.poke(TASK + 24 + 8 * 17, cs)
    frame = session.frame(rsp=TASK + 24, rip=ENTRY)
    assert session.unwind(frame) is frame
    assert frame.frame_id == (TOP, ENTRY)
    names = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi".split()
    general = {name: 100 + number for number, name in enumerate(names)}
    assert frame.saved == {**general, "rsp": TASK + 24 + 128, "rip": back_to}


def test_a_register_that_is_not_known_stays_so(session):
    session.raw.poke(ROWS + 6 + 4, BEFORE_6_3.flags(SP_INDIRECT, UNCHANGED), 2)
    frame = session.frame(rbp=None)
    assert session.unwind(frame) is frame
    assert frame.saved == {"rsp": TASK + 24, "rip": ENTRY}


@pytest.mark.parametrize("registers", [{"rsp": TOP - 8}, {"rsp": 0x7FFF_0000_0FF8}])
def test_other_frames_cost_no_read(session, registers):
    before = session.raw.reads
    assert session.unwind(session.frame(**registers)) is None
    assert session.raw.reads == before


@pytest.mark.parametrize(
    "registers",
    [
        {"arch": "aarch64"},
        {"rsp": None},
        {"rip": None},
        {"rip": TEXT - 1},
        {"rip": TEXT + 0x250},
        {"rsp": TOP + 0x1000},
    ],
)
def test_what_cannot_be_known_is_left_to_gdb(session, registers):
    assert session.unwind(session.frame(**registers)) is None


@pytest.mark.parametrize("saved", [0, 8, 0x7FFF_FFFF_F000, 2**64 - 8])
def test_a_stack_pointer_that_is_none_is_left_to_gdb(session, saved):
    session.raw.poke(TOP, saved)
    assert session.unwind(session.frame()) is None


def test_without_the_kernels_symbols_it_is_left_to_gdb(session):
    session.linked.popitem()
    session.vmlinux.write_bytes(elf(session.linked))
    assert session.unwind(session.frame()) is None
    session.function.symtab = None
    assert session.unwind(session.frame()) is None
    session.function = None
    assert session.unwind(session.frame()) is None


@pytest.mark.parametrize("registers", [{"rip": ENTRY + 1}, {"rip": None}])
def test_other_code_with_the_entry_codes_stack_pointer_is_left_to_gdb(session, registers):
    session.unwind(session.frame())
    assert session.unwind(session.frame(**{"rsp": TASK + 24, **registers})) is None


def test_without_the_servers_image_entry_code_is_left_to_gdb(session):
    session.unwind(session.frame())
    session.raw.poke(IMAGE, 0)
    assert session.unwind(session.frame(rsp=TASK + 24, rip=ENTRY)) is None
    del session.raw.regions[IMAGE]
    session.raw.starts.remove(IMAGE)
    assert session.unwind(session.frame(rsp=TASK + 24, rip=ENTRY)) is None


@pytest.mark.parametrize("task", [TASK, TOP + 0x8000])
def test_a_plain_caller_is_left_to_gdb_where_its_stack_is_higher(session, task):
    """Else gdb would take the frame for damaged; so it has an id on the interrupt stack, too."""
    session.raw.poke(ROWS + 6 * 3, 24, 2)
    session.raw.poke(ROWS + 6 * 3 + 4, BEFORE_6_3.flags(SP), 2)
    if task != TASK:
        session.raw.poke(TOP, task)
        session.raw.map(task, struct.pack("<6Q", 0xB0B, 0xB9, ENTRY, 1, 2, PC))
    else:
        session.raw.poke(task + 40, PC)
    session.unwind(session.frame())
    frame = session.frame(rsp=task + 24, rip=ENTRY)
    if task != TASK:
        assert session.unwind(frame) is None
        return
    assert session.unwind(frame) is frame
    assert frame.frame_id == (TOP, ENTRY)
    assert frame.saved == {"rsp": task + 48, "rip": PC, "rbp": 7}
