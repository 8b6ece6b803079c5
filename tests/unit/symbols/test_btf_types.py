"""BTF of all kinds of types, as a source of types, of modules, and found by its header."""

from __future__ import annotations

import dataclasses
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder, SegmentedAddressSpace
from kdump_gdbserver.domain.kernel.types import Member
from kdump_gdbserver.domain.symbols.btf import Btf, BtfMember, BtfType, Kind
from kdump_gdbserver.domain.symbols.btf_types import BtfTypes, find_btf
from tests.support.btf_writer import BtfWriter, write_btf
from tests.support.symbol_questions import ask_btf

orders: st.SearchStrategy[ByteOrder] = st.sampled_from(["little", "big"])
byte_orders = pytest.mark.parametrize("order", ["little", "big"])


def kernel(order: ByteOrder = "little") -> BtfWriter:
    """Return a writer that has a type of each kind; their names say which."""
    w = BtfWriter(order)
    int_ = w.integer("int", 4, encoding=1)  # 1
    char = w.integer("char", 1, encoding=1)
    long = w.integer("long unsigned int", 8)
    pointer = w.pointer(0)
    comm = w.array(char, int_, 16)
    grid = w.array(comm, int_, 3)  # 6
    const = w.add(10, "", int_)
    volatile = w.add(9, "", const)
    restrict = w.add(11, "", pointer)
    pid_t = w.add(8, "pid_t", volatile)
    tagged = w.add(18, "rcu", pid_t)
    float_ = w.add(16, "double", 8)  # 12
    either = w.struct("", 8, [("a", long, 0), ("b", pid_t, 32)], union=True)
    inner = w.struct("", 16, [("x", tagged, 0), ("", either, 64)])
    w.add(7, "task_struct")  # 15: only declared
    task = w.struct(
        "task_struct", 128,
        [("pid", pid_t, 0), ("flag", int_, 32, 1), ("other", int_, 39, 3), ("", inner, 64),
         ("comm", comm, 192), ("thread", inner, 320), ("grid", grid, 448), ("link", restrict, 832),
         ("ratio", float_, 896)],
    )  # fmt: skip
    proto = w.prototype(int_, [("task", pointer), ("count", long), ("", 0)])
    w.add(12, "wake_up_process", proto, parts=1)
    variable = w.add(14, "current_task", task, [1])
    w.section(".data..percpu", [(variable, 0x40, 8)])  # 20
    w.enum("pid_type", {"PIDTYPE_PID": 0, "PIDTYPE_MAX": 4})
    w.enum("sign", {"MINUS": -1, "PLUS": 1}, signed=True)
    w.enum("wide", {"BIG": 1 << 40, "ALL": (1 << 64) - 1}, size=8)
    w.enum("wide_sign", {"MINUS": -(1 << 40)}, size=8, signed=True)
    w.add(17, "user", task, [0xFFFFFFFF])  # 25
    w.add(8, "task_t", task)
    w.struct("thread_union", 0x4000, [("stack", w.count - 24 + 3, 0)], union=True)
    old = w.integer("unsigned int", 4, offset=8, bits=3)
    w.struct("old_bits", 4, [("field", old, 8)])
    return w


@byte_orders
def test_every_kind_of_type_is_read(order: ByteOrder) -> None:
    writer = kernel(order)
    btf = Btf.parse(writer.blob(), order)
    assert (len(btf), btf.numbers()) == (29, range(1, 30))
    assert [btf[number].kind.value for number in btf.numbers()] == [
        1, 1, 1, 2, 3, 3, 10, 9, 11, 8, 18, 16, 5, 4, 7, 4, 13, 12, 14, 15, 6, 6, 19, 19, 17, 8, 5,
        1, 4,
    ]  # fmt: skip
    assert btf[0] == BtfType(Kind.VOID, "", 0, False, 0)
    assert btf[16] == BtfType(Kind.STRUCT, "task_struct", 9, True, 128)
    assert btf.members(16)[1:3] == (BtfMember("flag", 1, 32, 1), BtfMember("other", 1, 39, 3))
    assert btf.members(13) == (BtfMember("a", 3, 0, 0), BtfMember("b", 10, 32, 0))
    assert btf.array(6) == (5, 1, 3)
    assert (btf.integer(2), btf.integer(28)) == ((1, 0, 8), (0, 8, 3))
    assert btf.parameters(17) == [("task", 4), ("count", 3), ("", 0)]
    assert btf[18] == BtfType(Kind.FUNC, "wake_up_process", 1, False, 17)
    assert btf.linkage(19) == 1
    assert btf.variables(20) == [(19, 0x40, 8)]
    assert btf.enumerators(21) == [("PIDTYPE_PID", 0), ("PIDTYPE_MAX", 4)]
    assert btf.enumerators(22) == [("MINUS", -1), ("PLUS", 1)]
    assert btf.enumerators(23) == [("BIG", 1 << 40), ("ALL", (1 << 64) - 1)]
    assert btf.enumerators(24) == [("MINUS", -(1 << 40))]
    assert btf.component(25) == -1
    assert [btf.size(number) for number in (4, 6, 11, 12, 16, 19, 23, 26)] == [
        8, 48, 4, 8, 128, 128, 8, 128
    ]  # fmt: skip
    assert btf.size(4, pointer_size=4) == 4
    assert [btf.size(number) for number in (0, 15, 17, 18)] == [None] * 4
    assert (btf.resolve(11), btf.resolve(19)) == (1, 16)
    assert btf.find("task_struct", Kind.STRUCT) == [16]
    assert btf.find("task_struct", Kind.FWD, Kind.STRUCT) == [15, 16]
    assert btf.find("pid", Kind.STRUCT) == btf.find("", Kind.STRUCT) == []
    assert btf.find("struct", Kind.STRUCT) == []  # the end of another name


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda btf: btf[30], "no type 30"),
        (lambda btf: btf[-1], "no type -1"),
        (lambda btf: btf.members(1), "type 1 is INT, not STRUCT"),
        (lambda btf: btf.enumerators(16), "type 16 is STRUCT, not ENUM"),
        (lambda btf: btf.array(16), "type 16 is not ARRAY"),
    ],
)
def test_what_is_asked_wrongly_is_a_value_error(ask: Callable[[Btf], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ask(Btf.parse(kernel().blob(), "little"))


@byte_orders
def test_sizes_and_members_are_told_as_of_c(order: ByteOrder) -> None:
    types = BtfTypes(Btf.parse(kernel(order).blob(), order))
    assert {name: types.size(name) for name in (
        "struct task_struct", "task_t", "pid_t", "union thread_union", "enum pid_type",
        "enum wide", "int", "long unsigned int", "double",
    )} == {
        "struct task_struct": 128, "task_t": 128, "pid_t": 4, "union thread_union": 0x4000,
        "enum pid_type": 4, "enum wide": 8, "int": 4, "long unsigned int": 8, "double": 8,
    }  # fmt: skip
    for unknown in ("union task_struct", "task_struct", "struct pid_t", "struct", "", "struct \0"):
        assert types.size(unknown) is None
    members = {
        "pid": Member(0, 4, "int"),
        "flag": Member(4, 4, "int"),
        "other": Member(4, 4, "int"),
        "x": Member(8, 4, "int"),
        "a": Member(16, 8, "int"),
        "b": Member(20, 4, "int"),
        "comm": Member(24, 16, "bytes"),
        "thread": Member(40, 16, "bytes"),
        "thread.x": Member(40, 4, "int"),
        "thread.b": Member(52, 4, "int"),
        "grid": Member(56, 48, "bytes"),
        "link": Member(104, 8, "pointer"),
        "ratio": Member(112, 8, "int"),
    }
    for type_name in ("struct task_struct", "task_t"):
        assert {path: types.member(type_name, path) for path in members} == members
    for path in ("nothing", "pid.x", "thread.", "", ".pid", "thread.nothing", "link.pid"):
        assert types.member("struct task_struct", path) is None
    assert types.member("struct old_bits", "field") == Member(2, 4, "int")
    assert types.member("int", "x") is None
    assert types.symbol("init_task") is None


def test_pointers_are_as_large_as_is_said() -> None:
    types = BtfTypes(Btf.parse(kernel().blob(), "little"), pointer_size=4)
    assert types.member("struct task_struct", "link") == Member(104, 4, "pointer")


def test_different_structs_of_one_name_are_answered_for_as_far_as_they_agree() -> None:
    writer = BtfWriter()
    number = writer.integer("int", 4)
    writer.struct("twins", 8, [("same", number, 0), ("moved", number, 32)])
    writer.struct("twins", 12, [("same", number, 0), ("moved", number, 64)])
    types = BtfTypes(Btf.parse(writer.blob(), "little"))
    assert types.member("struct twins", "same") == Member(0, 4)
    assert types.member("struct twins", "moved") is None
    assert types.size("struct twins") is None


@byte_orders
def test_a_modules_types_go_on_from_its_kernels(order: ByteOrder) -> None:
    writer = kernel(order)
    base = Btf.parse(writer.blob(), order)
    more = BtfWriter(order, writer)
    pointer = more.pointer(16)
    more.struct("ext4_inode", 24, [("task", pointer, 0), ("pid", 10, 64), ("thread", 14, 64)])
    more.struct("task_struct", 128, [("pid", 10, 32)])
    module = Btf.parse(more.blob(), order, base)
    assert module.numbers() == range(30, 33)
    assert module[16] == base[16]
    assert module.find("task_struct", Kind.STRUCT) == [16, 32]
    types = BtfTypes(module)
    assert types.size("struct ext4_inode") == 24
    assert types.member("struct ext4_inode", "thread.b") == Member(20, 4)
    assert types.member("struct ext4_inode", "task") == Member(0, 8, "pointer")
    assert types.size("union thread_union") == 0x4000
    assert module.array(6) == (5, 1, 3)
    assert module.enumerators(21) == base.enumerators(21)
    assert types.member("struct task_struct", "pid") is None  # the kernel's, or the module's?


@dataclasses.dataclass
class Model:
    """A struct's members: their names, and what is inside those that are structs."""

    name: str
    inside: list[Model]


names = st.text("abcdefgh_", min_size=1, max_size=6)
models = st.recursive(
    names.map(lambda name: Model(name, [])),
    lambda inner: st.builds(
        Model, st.one_of(st.just(""), names), st.lists(inner, min_size=1, max_size=5)
    ),
    max_leaves=25,
)


@given(st.lists(models, min_size=1, max_size=6), orders, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_nested_and_nameless_structs_are_walked(
    made: list[Model], order: ByteOrder, random: object
) -> None:
    writer = BtfWriter(order)
    number = writer.integer("int", 4)
    expected: dict[str, int | None] = {}

    def write(name: str, inside: list[Model]) -> tuple[int, int, dict[str, int | None]]:
        """Return the struct's type, size in bytes, and where each path in it leads."""
        members, at, paths = [], 0, dict[str, int | None]()

        def note(path: str, offset: int) -> None:
            # Names that come twice are not C; which is found does not matter.
            paths[path] = None if path in paths else offset

        for model in inside:
            if model.inside:
                type_, size, below = write("", model.inside)
                for path, offset in below.items():
                    full = f"{model.name}.{path}" if model.name else path
                    note(full, at + offset) if offset is not None else paths.update({full: None})
                if model.name:
                    note(model.name, at)
            else:
                type_, size = number, 4
                note(model.name, at)
            members.append((model.name, type_, 8 * at))
            at += size
        return writer.struct(name, at, members), at, paths

    _, size, expected = write("outer", made)
    types = BtfTypes(Btf.parse(writer.blob(), order))
    assert types.size("struct outer") == size
    twice = {path.split(".")[0] for path, offset in expected.items() if offset is None}
    for path, offset in expected.items():
        parts = path.split(".")
        prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        if offset is not None and not any(expected.get(p, 0) is None for p in prefixes | twice):
            member = types.member("struct outer", path)
            assert member is not None
            assert member.offset == offset


def looping() -> bytes:
    writer = BtfWriter()
    writer.add(8, "ouroboros", 1)
    writer.array(2, 2, 0xFFFFFFFF)
    writer.struct("me", 8, [("", 3, 0), ("", 3, 64), ("", 2, 0)] * 200)
    writer.struct("far", 8, [("away", 0xFFFFFF, 0)])
    writer.array(6, 6, 0xFFFFFFFF)
    writer.array(7, 7, 0xFFFFFFFF)
    writer.integer("int", 4)
    writer.add(8, "huge", 5)
    return writer.blob()


def test_types_that_lead_nowhere_are_not_known() -> None:
    types = BtfTypes(Btf.parse(looping(), "little"))
    started = time.thread_time()
    assert types.size("ouroboros") is None
    assert types.size("huge") is None
    assert types.member("struct me", "x") is None
    assert types.member("struct far", "away") is None
    assert types.member("struct far", "away.x") is None
    assert time.thread_time() - started < 1  # measured: 2 ms


@given(st.data(), orders)
@settings(max_examples=150)
def test_damaged_btf_gives_answers_or_a_value_error(data: st.DataObject, order: ByteOrder) -> None:
    blob = bytearray(kernel(order).blob())
    for _ in range(data.draw(st.integers(1, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        btf = Btf.parse(bytes(blob[: data.draw(st.integers(len(blob) // 2, len(blob)))]), order)
    except ValueError:
        return
    ask_btf(btf)


@pytest.mark.parametrize(
    ("at", "data", "said"),
    [
        (2, b"\2", "version is 2"),
        (4, b"\0\0\0\0", "cut short"),
        (12, b"\xff\xff\xff\0", "cut short"),
        (24 + 7, b"\x14", "type 1 is damaged"),  # a kind that is not known
        (24 + 7, b"\0", "type 1 is damaged"),
        (-1, b"x", "cut short"),
    ],
)
def test_damaged_headers_and_records_are_refused(at: int, data: bytes, said: str) -> None:
    blob = bytearray(kernel().blob())
    blob[at : at + len(data) if at >= 0 else None] = data
    with pytest.raises(ValueError, match=said):
        Btf.parse(bytes(blob), "little")


BASE = 0xFFFF800008000000


@byte_orders
def test_btf_is_found_by_its_header(order: ByteOrder) -> None:
    """Decoys before it: a header alone, one of another kernel's module, one misaligned."""
    blob = kernel(order).blob()
    decoys = blob[:24] + write_btf({"module": {"a": 0}}, order)
    memory = SegmentedAddressSpace(
        {
            BASE + 0x10000: decoys + bytes(-len(decoys) % 4) + b"x" + blob[:24],
            BASE + 0x800000: b"\0" * 0x3FF4 + blob,
        }
    )
    at, btf = find_btf(memory, order, BASE, BASE + 0x2000000)
    assert at == BASE + 0x803FF4
    assert btf.find("task_struct", Kind.STRUCT) == [16]


@pytest.mark.parametrize("cut", [0, 10, 24, 200])
def test_btf_that_is_cut_off_is_not_found(cut: int) -> None:
    memory = SegmentedAddressSpace({BASE: kernel().blob()[:cut]})
    with pytest.raises(ValueError, match="none is found"):
        find_btf(memory, "little", BASE, BASE + 0x2000000)


def test_memory_full_of_headers_takes_bounded_time() -> None:
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 1 << 22, 1 << 22, 1 << 20)
    memory = SegmentedAddressSpace({BASE: header * 400_000})
    started = time.thread_time()
    with pytest.raises(ValueError, match="none is found"):
        find_btf(memory, "little", BASE, BASE + 0x2000000)
    assert time.thread_time() - started < 5  # measured: 0.2 s
