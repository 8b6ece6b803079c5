"""Symbols and types out of real dumps, all of them, against the kernels' own debug information.

The oracles: the symbol table of vmlinux by pyelftools, its DWARF by drgn.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import drgn
import pytest
from elftools.elf.elffile import ELFFile

from kdump_gdbserver.adapters.elf_symbols import ElfSymbolFile
from kdump_gdbserver.adapters.elf_symbols.drgn_types import DrgnTypes
from kdump_gdbserver.adapters.kdumpfile.opener import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.symbols.btf import Btf, Kind
from kdump_gdbserver.domain.symbols.btf_types import BtfTypes
from kdump_gdbserver.domain.symbols.dump_types import DumpTypes
from kdump_gdbserver.domain.symbols.first_task import find_init_task
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms
from kdump_gdbserver.domain.symbols.kallsyms_search import SEARCH_SPAN, find_kallsyms
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.real.harness import RealDump

ORDER = "little"
# What scripts/kallsyms.c and scripts/mksysmap leave out of the table.
_LEFT_OUT = (
    "__crc_", "__kstrtab", "__ksymtab", "kallsyms_", ".L", "$", "__pi_$", "__efistub_",
    "__kvm_nvhe_",
)  # fmt: skip


@functools.cache
def opened(path: str) -> tuple[AddressSpace, Vmcoreinfo]:
    """The one place that knows how kernel memory of a dump is had."""
    dump = KdumpfileOpener().open([path])
    return DumpMemory(dump).kernel(), dump.vmcoreinfo


def elf_dump(dump: RealDump) -> tuple[AddressSpace, Vmcoreinfo]:
    return opened(str(dump.dumps["elf"][0]))


def without_places(info: Vmcoreinfo) -> Vmcoreinfo:
    """What kernels before 6.0 tell."""
    return Vmcoreinfo({key: value for key, value in info.lines.items() if "kallsyms" not in key})


@functools.cache
def symbol_table(vmlinux: str, offset: int) -> dict[str, set[int]]:
    """Every symbol of vmlinux that names a place, at run time."""
    with open(vmlinux, "rb") as file:  # noqa: PTH123
        elf = ELFFile(file)
        # Offsets in the per-CPU area where that is linked at 0, up to its end.
        fixed = {
            number: section["sh_size"]
            for number, section in enumerate(elf.iter_sections())
            if section.name == ".data..percpu" and section["sh_addr"] == 0
        }
        found: dict[str, set[int]] = {}
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            section = symbol["st_shndx"]
            if section in ("SHN_UNDEF", "SHN_ABS") or symbol["st_info"]["type"] in (
                "STT_FILE",
                "STT_SECTION",
            ):
                continue
            moved = 0 if symbol["st_value"] <= fixed.get(section, -1) else offset
            found.setdefault(symbol.name, set()).add(symbol["st_value"] + moved)
    return found


def everything(symbols: Kallsyms) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for symbol in symbols.all():
        found.setdefault(symbol.name, set()).add(symbol.address)
    return found


def test_every_symbol_is_where_vmlinux_says_told_or_found(panicked: RealDump) -> None:
    memory, info = elf_dump(panicked)
    expected = symbol_table(str(panicked.vmlinux), info.kaslr_offset or 0)
    started = time.thread_time()
    told = find_kallsyms(memory, info, ORDER)
    symbols = list(told.all())
    assert time.thread_time() - started < 2  # measured: 0.2 s
    wrong = [each for each in symbols if each.address not in expected.get(each.name, ())]
    assert (len(wrong), wrong[:3]) == (0, [])
    found = everything(told)
    missing = {
        name
        for name, places in expected.items()
        if not places <= found.get(name, set()) and not name.startswith(_LEFT_OUT)
    }
    if "init_task" in found:  # else functions are all that there is
        assert not missing
    assert list(find_kallsyms(memory, without_places(info), ORDER).all()) == symbols


def test_names_are_looked_up_as_they_are_listed(panicked: RealDump) -> None:
    memory, info = elf_dump(panicked)
    symbols = find_kallsyms(memory, info, ORDER)
    some = list(symbols.all())[::997]
    found = everything(symbols)
    few = find_kallsyms(memory, info, ORDER).find([each.name for each in some])
    assert {name: set(places) for name, places in few.items()} == {
        each.name: found[each.name] for each in some
    }
    for each in some:
        places = found[each.name]
        assert symbols.address(each.name) == (each.address if len(places) == 1 else None)
        at = symbols.at(each.address)
        assert at is not None
        assert at.address == each.address
    assert sum(len(places) > 1 for places in found.values()) > 100  # static functions


def members_of(type_: Any, start: int = 0) -> Iterator[tuple[str, int, Any]]:
    """The members of a struct as DWARF has them, with those of nameless ones inside it."""
    for member in type_.members:
        if member.name:
            yield member.name, start + member.bit_offset, member.type
        elif member.type.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
            yield from members_of(member.type, start + member.bit_offset)


def sized(type_: Any) -> int:
    try:
        return int(drgn.sizeof(type_))
    except TypeError:
        return 0


def test_every_member_of_every_struct_is_where_dwarf_says(panicked: RealDump) -> None:
    memory, info = elf_dump(panicked)
    btf = DumpTypes(memory, info, X86_64).btf
    assert btf is not None
    types = BtfTypes(btf)
    program = drgn.Program()
    program.extra_module("vmlinux", create=True).try_file(str(panicked.vmlinux), force=True)
    checked = members = 0
    wrong: list[object] = []
    for name in named_structs(btf):
        try:
            dwarf = program.type(name)
        except LookupError:
            continue  # only in a module, or only the target of a pointer
        if not dwarf.is_complete():
            continue
        checked += 1
        if types.size(name) != dwarf.size:
            wrong.append((name, types.size(name), dwarf.size))
        for member, bits, type_ in members_of(dwarf):
            members += 1
            found = types.member(name, member)
            if found is None or (found.offset, found.size) != (bits // 8, sized(type_)):
                wrong.append((name, member, found, bits))
    assert (len(wrong), wrong[:3]) == (0, [])
    assert checked > 6000
    assert members > 40000


def named_structs(btf: Btf) -> list[str]:
    """The structs and unions whose names are of one type only."""
    found: dict[str, int] = {}
    for number in btf.numbers():
        kind, name, _, _, _ = btf[number]
        if name and kind in (Kind.STRUCT, Kind.UNION):
            full = f"{kind.name.lower()} {name}"
            found[full] = found.get(full, 0) + 1
    return [name for name, count in found.items() if count == 1]


PATHS = (
    ("struct task_struct", "thread_info.flags"),
    ("struct task_struct", "tasks.next"),
    ("struct task_struct", "comm"),
    ("struct task_struct", "mm"),
    ("struct task_struct", "in_iowait"),
    ("struct page", "_refcount.counter"),
    ("struct page", "mapping"),
    ("struct mm_struct", "pgd"),
    ("struct list_head", "next"),
    ("struct task_struct", "nothing"),
    ("struct nothing", "nothing"),
)


def test_dwarf_and_btf_and_the_dump_say_the_same(panicked: RealDump) -> None:
    memory, info = elf_dump(panicked)
    dump = DumpTypes(memory, info, X86_64)
    file = ElfSymbolFile(str(panicked.vmlinux)).types(info.kaslr_offset or 0)
    dwarf = DrgnTypes(str(panicked.vmlinux))
    for type_name, path in PATHS:
        expected = dwarf.member(type_name, path)
        assert (expected is None) == (path == "nothing")
        assert dump.member(type_name, path) == file.member(type_name, path) == expected
        assert dump.size(type_name) == file.size(type_name) == dwarf.size(type_name)
    assert dump.size("pid_t") == dwarf.size("pid_t") == 4
    table = symbol_table(str(panicked.vmlinux), info.kaslr_offset or 0)
    for name in ("_text", "schedule", "panic"):
        assert {dump.symbol(name)} == {file.symbol(name)} == table[name]
    assert dump.kallsyms is not None
    has_data = dump.kallsyms.address("init_task") is not None  # CONFIG_KALLSYMS_ALL
    for name in ("init_task", "runqueues", "panic_cpu", "__per_cpu_offset", "modules"):
        assert {file.symbol(name)} == table[name]
        known = has_data or name == "init_task"  # which is found by its looks
        assert dump.symbol(name) == (file.symbol(name) if known else None)
    assert dump.symbol("cleanup") == file.symbol("cleanup") is None
    assert not dump.problems
    assert "from its BTF" in file.source


def test_the_first_task_is_found_without_its_symbol(panicked: RealDump) -> None:
    memory, info = elf_dump(panicked)
    start = info.symbol("_stext")
    assert start is not None
    types = DumpTypes(memory, info, X86_64)
    first = find_init_task(memory, types, ORDER, start, start + SEARCH_SPAN)
    assert first is not None
    assert {first} == symbol_table(str(panicked.vmlinux), info.kaslr_offset or 0)["init_task"]


@pytest.mark.parametrize("form", ["elf", "flattened"])
def test_a_dump_of_the_capture_kernel_tells_the_same(kdumped: RealDump, form: str) -> None:
    memory, info = opened(str(kdumped.dumps[form][0]))
    types = DumpTypes(memory, info, X86_64)
    table = symbol_table(str(kdumped.vmlinux), info.kaslr_offset or 0)
    assert types.kallsyms is not None
    assert len(types.kallsyms) > 80000
    assert all(each.address in table[each.name] for each in types.kallsyms.all())
    assert types.size("struct task_struct") == ElfSymbolFile(str(kdumped.vmlinux)).types(0).size(
        "struct task_struct"
    )
