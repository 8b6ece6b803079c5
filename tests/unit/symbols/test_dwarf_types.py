"""BTF as DWARF: every kind of type, hostile ones too."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.writers.declarations import declared_variables
from kdump_gdbserver.domain.symbols.writers.dwarf_types import (
    Dwarf,
    DwarfWriter,
    FunctionCode,
    Variable,
    clean_strings,
)
from kdump_gdbserver.domain.symbols.writers.symbol_image import symbol_image
from tests.support.btf_writer import BtfWriter
from tests.support.elf_judge import judge
from tests.support.image_parts import DATA, OFFSET, TEXT, btf, symbols

EM_X86_64 = 62
orders = pytest.mark.parametrize("order", ["little", "big"])


def file_of(dwarf: Dwarf, order: ByteOrder = "little", offset: int = 0) -> bytes:
    image = symbol_image(EM_X86_64, order, symbols({}, order), dwarf=dwarf)
    return image.relocated(offset)


def written(writer: BtfWriter, *variables: Variable) -> Dwarf:
    return DwarfWriter(btf(writer), writer.byte_order).write(TEXT, TEXT + 1, [], variables)


def entries(file: bytes) -> list[Any]:
    """The entries of types and of code, but for the unit's own."""
    unit = next(judge(file).get_dwarf_info().iter_CUs())
    return list(unit.get_top_DIE().iter_children())


def named(file: bytes, name: str) -> Any:
    (found,) = (die for die in entries(file) if text_of(die) == name)
    return found


def text_of(die: Any) -> str | None:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode() if attribute else None


def value(die: Any, name: str) -> Any:
    attribute = die.attributes.get(f"DW_AT_{name}")
    return attribute.value if attribute else None


def spelled(die: Any) -> str:
    """A type's name as C has it, more or less."""
    if "DW_AT_type" not in die.attributes:
        inner = "void"
    else:
        inner = spelled(die.get_DIE_from_attribute("DW_AT_type"))
    kind = die.tag.removeprefix("DW_TAG_").removesuffix("_type")
    if kind == "subroutine":
        return f"{inner}({parameters(die)})"
    marks = {"pointer": "*", "const": " const", "volatile": " volatile", "restrict": " restrict"}
    if kind == "array":
        (part,) = die.iter_children()
        marks["array"] = f"[{value(part, 'count') or ''}]"
    return inner + marks[kind] if kind in marks else f"{kind} {text_of(die)}"


def parameters(die: Any) -> str:
    return ", ".join(
        spelled(each.get_DIE_from_attribute("DW_AT_type"))
        if each.tag == "DW_TAG_formal_parameter"
        else "..."
        for each in die.iter_children()
        if each.tag != "DW_TAG_inlined_subroutine"
    )


def members(die: Any) -> list[tuple[Any, ...]]:
    return [
        (
            text_of(each),
            spelled(each.get_DIE_from_attribute("DW_AT_type")),
            value(each, "data_member_location"),
            value(each, "data_bit_offset"),
            value(each, "bit_size"),
        )
        for each in die.iter_children()
    ]


@orders
def test_every_kind_of_type(order: ByteOrder) -> None:
    w = BtfWriter(order)
    int_ = w.integer("int", 4, encoding=1)
    char = w.integer("char", 1, encoding=1)
    w.integer("unsigned char", 1)
    w.integer("_Bool", 1, encoding=4)
    double = w.add(16, "double", 8)
    const = w.add(10, "", char)
    text = w.pointer(const)
    void = w.pointer(0)
    volatile_void = w.add(9, "", 0)
    restrict = w.add(11, "", text)
    forward = w.add(7, "later")
    union_forward = w.add(7, "later_union", flag=True)
    inner = w.struct("", 8, [("low", int_, 0), ("high", int_, 32)], union=False)
    name = w.array(char, int_, 16)
    open_end = w.array(text, int_, 0)
    tag = w.add(18, "user", int_)
    more = [("", 0)]
    call = w.prototype(int_, [("format", text), *more])
    nothing = w.prototype(0, [])
    calls = w.pointer(call)
    w.add(8, "callback_t", calls)
    w.add(8, "opaque", 0)
    w.add(17, "tagged", inner, [0xFFFFFFFF])
    w.struct(
        "all", 96,
        [
            ("", inner, 0), ("name", name, 64), ("call", calls, 192), ("any", void, 256),
            ("user", w.pointer(tag), 320), ("next", w.pointer(w.count + 3), 384),
            ("later", w.pointer(forward), 448), ("bits", int_, 512, 3), ("more", int_, 515, 29),
            ("", int_, 544, 5), ("real", double, 576), ("end", open_end, 768),
        ],
    )  # fmt: skip
    del volatile_void, restrict, union_forward, nothing
    dwarf = written(w)
    assert dwarf.damaged == 0
    file = file_of(dwarf, order)
    all_ = named(file, "all")
    assert value(all_, "byte_size") == 96
    assert members(all_)[1:3] == [
        ("name", "base char[16]", 8, None, None),
        ("call", "base int(base char const*, ...)*", 24, None, None),
    ]
    assert [each[1] for each in members(all_)[3:5]] == ["void*", "base int*"]
    assert members(all_)[7:] == [
        ("bits", "base int", None, 512, 3),
        ("more", "base int", None, 515, 29),
        (None, "base int", None, 544, 5),
        ("real", "base double", 72, None, None),
        ("end", "base char const*[]", 96, None, None),
    ]
    assert spelled(named(file, "callback_t")) == "typedef callback_t"
    encodings = {name: value(named(file, name), "encoding") for name in ("char", "_Bool", "int")}
    assert encodings == {"char": 6, "_Bool": 2, "int": 5}
    assert value(named(file, "unsigned char"), "encoding") == 8
    assert value(named(file, "later"), "declaration") is True
    assert named(file, "later_union").tag == "DW_TAG_union_type"
    assert "DW_AT_type" not in named(file, "opaque").attributes


def test_enumerators_keep_their_values() -> None:
    w = BtfWriter()
    w.enum("plain", {"ZERO": 0, "TOP": 0xFFFFFFFF})
    w.enum("signed", {"LOW": -(1 << 31), "ONE": 1}, signed=True)
    w.enum("wide", {"TOP64": (1 << 64) - 1}, size=8)
    w.enum("wide_signed", {"LOW64": -(1 << 63), "MINUS": -1}, size=8, signed=True)
    file = file_of(written(w))

    def values(name: str) -> dict[str | None, int]:
        parts = named(file, name).iter_children()
        return {text_of(each): value(each, "const_value") for each in parts}

    assert values("plain") == {"ZERO": 0, "TOP": 0xFFFFFFFF}
    assert values("signed") == {"LOW": -(1 << 31), "ONE": 1}
    assert values("wide") == {"TOP64": (1 << 64) - 1}
    assert values("wide_signed") == {"LOW64": -(1 << 63), "MINUS": -1}


def test_old_btf_tells_no_signs() -> None:
    w = BtfWriter()
    w.enum("either", {"LOW": 0xFFFFFFFF, "ONE": 1})
    w.add(6, "cut", 8, [w.text("HALF"), 0], parts=1)
    file = file_of(written(w))
    assert [text_of(each) for each in named(file, "either").iter_children()] == ["ONE"]
    assert list(named(file, "cut").iter_children()) == []


def test_old_bit_fields_are_of_integers_with_fewer_bits() -> None:
    w = BtfWriter()
    three = w.integer("unsigned int", 4, bits=3, offset=2)
    alias = w.add(8, "three_t", three)
    w.struct("old", 8, [("a", three, 0), ("b", alias, 32)])
    assert members(named(file_of(written(w)), "old")) == [
        ("a", "base unsigned int", None, 2, 3),
        ("b", "typedef three_t", None, 34, 3),
    ]


@orders
def test_functions_and_variables_are_where_they_were_put(order: ByteOrder) -> None:
    w = BtfWriter(order)
    int_ = w.integer("int", 4, encoding=1)
    proto = w.prototype(int_, [("flags", int_), ("", int_), ("", 0)])
    void = w.prototype(0, [])
    w.add(12, "known", proto)
    w.add(12, "plain", void)
    for _ in range(2):
        w.add(12, "twice", void)
    functions = [
        FunctionCode("known", TEXT + 0x100, 0x40), FunctionCode("alias", TEXT + 0x100, 0x40),
        FunctionCode("plain", TEXT + 0x140, 0x10), FunctionCode("twice", TEXT + 0x150, 0x10),
        FunctionCode("asm_code", TEXT + 0x160, 0x20),
    ]  # fmt: skip
    variables = [
        Variable("one", DATA, int_), Variable("percpu", 0x1234, int_),
        Variable("pointer", DATA + 8, int_, pointer=True),
        Variable("many", DATA + 16, int_, count=3),
        Variable("bad", DATA, 999),
    ]  # fmt: skip
    switches = [
        (TEXT + 0x110, TEXT + 0x114),
        (TEXT + 0x162, TEXT + 0x164),
        (TEXT + 0x300, TEXT + 0x301),
    ]
    dwarf = DwarfWriter(btf(w), order).write(TEXT, TEXT + 0x1000, functions, variables, switches)
    assert dwarf.functions == 3
    file = file_of(dwarf, order, OFFSET)
    known = named(file, "known")
    assert value(known, "low_pc") == TEXT + OFFSET + 0x100
    assert value(known, "high_pc") == 0x40
    assert (spelled(known.get_DIE_from_attribute("DW_AT_type")), parameters(known)) == (
        "base int",
        "base int, base int, ...",
    )
    names = [text_of(each) for each in known.iter_children() if each.tag.endswith("parameter")]
    assert names == ["flags", None]
    (inlined,) = (each for each in known.iter_children() if "inlined" in each.tag)
    assert value(inlined, "low_pc") == TEXT + OFFSET + 0x110
    assert "DW_AT_type" not in named(file, "plain").attributes
    assert value(named(file, "asm_code"), "low_pc") == TEXT + OFFSET + 0x160
    everything = [text_of(each) for each in entries(file)]
    assert not {"alias", "twice", "bad"}.intersection(everything)
    places = {}
    for name in ("one", "percpu", "pointer", "many"):
        die = named(file, name)
        operation, *address = value(die, "location")
        assert operation == 3
        spelling = spelled(die.get_DIE_from_attribute("DW_AT_type"))
        places[name] = spelling, int.from_bytes(bytes(address), order)
    assert places == {
        "one": ("base int", DATA + OFFSET), "percpu": ("base int", 0x1234),
        "pointer": ("base int*", DATA + OFFSET + 8), "many": ("base int[3]", DATA + OFFSET + 16),
    }  # fmt: skip


def test_well_known_variables_need_a_type_that_fits() -> None:
    w = BtfWriter()
    pointer = w.pointer(w.count + 2)
    w.struct("list_head", 16, [("next", pointer, 0), ("prev", pointer, 64)])
    w.integer("long unsigned int", 8)
    w.struct("uts_namespace", 400, [])
    w.struct("uts_namespace", 8, [])
    found = {
        each.name: each
        for each in declared_variables(
            btf(w),
            {
                "modules": (DATA, 16), "slab_caches": (DATA + 16, 8), "init_task": (DATA, 1 << 14),
                "__per_cpu_offset": (DATA + 64, 65), "init_uts_ns": (DATA, 400),
            },
        )
    }  # fmt: skip
    assert set(found) == {"modules", "__per_cpu_offset"}
    assert found["__per_cpu_offset"].count == 8


def hostile(case: str) -> BtfWriter:
    w = BtfWriter()
    int_ = w.integer("int", 4, encoding=1)
    if case == "itself":
        w.add(8, "t", w.count + 1)
    elif case == "pointers in a circle":
        w.pointer(w.count + 2)
        w.pointer(w.count)
    elif case == "pointers in a row":
        w.pointer(int_)
        for _ in range(1000):
            w.pointer(w.count)
    elif case == "a struct in itself":
        w.struct("s", 8, [("s", w.count + 1, 0)])
    elif case == "nameless structs, one in the other":
        for _ in range(1000):
            w.struct("", 4, [("", w.count, 0)])
    elif case == "a nameless struct that points to itself":
        w.struct("", 8, [("p", w.count + 2, 0)])
        w.pointer(w.count)
    elif case == "a function of itself":
        w.prototype(w.count + 1, [])
    elif case == "members outside":
        w.struct("s", 4, [("a", int_, 8)])
    elif case == "bits outside":
        w.struct("s", 4, [("a", int_, 0, 33)])
    elif case == "no such type":
        w.pointer(12345)
    elif case == "too large":
        w.array(int_, int_, (1 << 32) - 1)
    elif case == "too many of nothing":
        w.array(w.struct("s", 0, []), int_, (1 << 32) - 1)
    else:
        assert case == "an integer of no size"
        w.integer("odd", 3)
    return w


CASES = {
    "itself": 1, "pointers in a circle": 2, "pointers in a row": 902, "a struct in itself": 1,
    "nameless structs, one in the other": 901, "a nameless struct that points to itself": 2,
    "a function of itself": 1, "members outside": 1, "bits outside": 1, "no such type": 1,
    "too large": 1, "too many of nothing": 1, "an integer of no size": 1,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_debuggers_could_not_bear_is_damaged(case: str) -> None:
    dwarf = written(hostile(case), Variable("v", DATA, hostile(case).count))
    judge(file_of(dwarf))
    assert abs(dwarf.damaged - CASES[case]) <= 2
    assert dwarf.damaged


def test_names_are_printable_and_bounded() -> None:
    strings = b"\0good\0b\x1bd\0" + b"l" * 2000 + b"\0\xc3\xa4\0end\0"
    cleaned = clean_strings(strings)
    assert len(cleaned) == len(strings)
    assert list(filter(None, cleaned.split(b"\0"))) == [b"good", b"end"]
    assert cleaned.index(b"end") == strings.index(b"end")


def test_what_is_no_type_is_an_unknown_one() -> None:
    w = BtfWriter()
    w.add(8, "alias", w.pointer(w.add(12, "f", w.prototype(0, []))))
    pointer = named(file_of(written(w)), "alias").get_DIE_from_attribute("DW_AT_type")
    assert spelled(pointer) == "unspecified unknown type*"


def a_kernel(order: ByteOrder) -> BtfWriter:
    """Some types of every kind."""
    w = BtfWriter(order)
    int_ = w.integer("int", 4, encoding=1)
    char = w.integer("char", 1)
    pointer = w.pointer(w.count + 2)
    w.struct("list_head", 16, [("next", pointer, 0), ("prev", pointer, 64)])
    const = w.add(10, "", char)
    w.struct("s", 24, [("a", int_, 0, 5), ("b", w.pointer(const), 64), ("", w.count, 128)])
    w.enum("e", {"A": 1, "B": -2}, signed=True)
    w.enum("f", {"C": 1 << 40}, size=8)
    w.array(w.array(int_, int_, 3), int_, 4)
    w.add(7, "fwd")
    proto = w.prototype(int_, [("x", pointer), ("", 0)])
    w.add(12, "known", proto)
    w.add(8, "fn", w.pointer(proto))
    variable = w.add(14, "percpu", int_, [1])
    w.section(".data..percpu", [(variable, 0, 4)])
    return w


@given(st.integers(0, 1 << 32), st.integers(1, 12), st.sampled_from(["little", "big"]))
@settings(max_examples=300)
def test_mutants_give_sound_files(seed: int, changes: int, order: ByteOrder) -> None:
    blob = bytearray(a_kernel(order).blob())
    chance = random.Random(seed)
    for _ in range(changes):
        at = chance.randrange(24, len(blob))
        blob[at] = chance.choice((0, 1, 2, 4, 13, 0x80, 0xFF, chance.randrange(256)))
    try:
        read = Btf.parse(bytes(blob), order)
    except ValueError:
        return
    functions = [FunctionCode("known", TEXT + 0x100, 16)]
    variables = [Variable("v", DATA, chance.randrange(40), chance.random() < 0.5, 2)]
    dwarf = DwarfWriter(read, order).write(TEXT, TEXT + 4096, functions, variables)
    judge(file_of(dwarf, order))


@pytest.mark.skipif(shutil.which("llvm-dwarfdump") is None, reason="no llvm-dwarfdump")
def test_llvm_verifies_mutants() -> None:
    chance = random.Random(1)
    checked = 0
    for _ in range(60):
        blob = bytearray(a_kernel("little").blob())
        for _ in range(chance.randrange(1, 6)):
            blob[chance.randrange(24, len(blob))] = chance.randrange(32)
        try:
            read = Btf.parse(bytes(blob), "little")
        except ValueError:
            continue
        dwarf = DwarfWriter(read, "little").write(
            TEXT, TEXT + 4096, [FunctionCode("known", TEXT + 256, 16)], []
        )
        with tempfile.NamedTemporaryFile() as file:
            file.write(file_of(dwarf))
            file.flush()
            done = subprocess.run(
                ["llvm-dwarfdump", "--verify", file.name], capture_output=True, check=False
            )
            assert done.returncode == 0, done.stdout
        checked += 1
    assert checked > 10
