"""The symbol image: what debuggers read of a kernel, made of kallsyms and BTF."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.writers.symbol_image import SymbolImage, symbol_image
from tests.support.elf_judge import judge
from tests.support.image_parts import (
    BSS,
    DATA,
    END,
    MARKED,
    OFFSET,
    PERCPU_SIZE,
    RODATA,
    TEXT,
    symbols,
)

EM_X86_64 = 62
SOME = {
    "schedule": ("T", TEXT + 0x1000), "helper": ("t", TEXT + 0x1080), "weak": ("W", TEXT + 0x1100),
    "init_task": ("D", DATA + 0x40), "local": ("d", DATA + 0x100), "zeros": ("b", BSS),
    "text_in_data": ("r", RODATA + 8), "current_task": ("A", 0x1234),
    "initcall": ("t", BSS - 0x8000), "behind": ("B", END - 16),
}  # fmt: skip


def image(more: dict[str, tuple[str, int]], order: ByteOrder = "little") -> SymbolImage:
    return symbol_image(EM_X86_64, order, symbols(more, order), build_id=b"\xab" * 20)


@pytest.mark.parametrize("order", ["little", "big"])
def test_names_have_kind_size_and_section(order: ByteOrder) -> None:
    elf = judge(image(SOME, order).file)
    found = {each.name: each for each in elf.get_section_by_name(".symtab").iter_symbols()}
    assert set(found) == {"", *MARKED, *SOME}

    def told(name: str) -> tuple[int, int, str, str, str]:
        symbol = found[name]
        section = elf.get_section(symbol["st_shndx"]).name
        info = symbol["st_info"]
        return symbol["st_value"], symbol["st_size"], info["bind"][4:], info["type"][4:], section

    assert told("schedule") == (TEXT + 0x1000, 0x80, "GLOBAL", "FUNC", ".text")
    assert told("helper") == (TEXT + 0x1080, 0x80, "LOCAL", "FUNC", ".text")
    # Up to the end of the section.
    assert told("weak") == (TEXT + 0x1100, 0xF00000 - 0x1100, "WEAK", "FUNC", ".text")
    assert told("init_task") == (DATA + 0x40, 0xC0, "GLOBAL", "OBJECT", ".data")
    assert told("text_in_data")[2:] == ("LOCAL", "OBJECT", ".rodata")
    assert told("current_task")[0] == 0x1234
    assert told("current_task")[4] == ".data..percpu"
    # Between the sections whose bounds are known.
    assert told("initcall") == (BSS - 0x8000, 0x8000, "LOCAL", "FUNC", ".kernel.1")
    assert told("_end")[0] == END


def test_sections_are_vmlinux_s(tmp_path: object) -> None:
    elf = judge(image(SOME).file)
    places = {
        section.name: (section["sh_addr"], section["sh_size"])
        for section in elf.iter_sections()
        if section["sh_flags"] & 2 and not section.name.startswith(".kernel")
    }
    assert places == {
        ".data..percpu": (0, PERCPU_SIZE),
        ".text": (TEXT, 0xF00000),
        ".rodata": (RODATA, 0x700000),
        ".data": (DATA, 0x200000),
        ".bss": (BSS, 0x100000),
    }
    note = elf.get_section_by_name(".note.gnu.build-id")
    assert next(note.iter_notes())["n_desc"] == "ab" * 20
    # One segment of the kernel; per-CPU variables are offsets, which no debugger should move.
    assert [segment["p_vaddr"] for segment in elf.iter_segments()] == [TEXT]


@pytest.mark.parametrize("order", ["little", "big"])
def test_all_of_the_kernel_moves_and_offsets_stay(order: ByteOrder) -> None:
    made = image(SOME, order)
    assert made.relocated(0) == made.file
    linked, moved = judge(made.file), judge(made.relocated(OFFSET))
    for one, other in zip(linked.iter_sections(), moved.iter_sections(), strict=True):
        fixed = OFFSET if one["sh_addr"] >= TEXT else 0
        assert other["sh_addr"] == one["sh_addr"] + fixed
    pairs = zip(
        *(elf.get_section_by_name(".symtab").iter_symbols() for elf in (linked, moved)),
        strict=True,
    )
    for before, after in pairs:
        fixed = OFFSET if before["st_value"] >= TEXT else 0
        assert after["st_value"] == before["st_value"] + fixed
        assert after["st_size"] == before["st_size"]


names = st.text("abcdefghijklmnopqrstuvwxyz_.0123456789", min_size=1, max_size=30)
kinds = st.sampled_from("TtDdBbRrAVWwva")
places = st.one_of(st.integers(0, PERCPU_SIZE + 0x100), st.integers(TEXT, END + 0x100))


@given(
    st.dictionaries(names, st.tuples(kinds, places), max_size=40),
    st.sets(st.sampled_from(sorted(MARKED))),
)
def test_any_table_gives_a_sound_file(more: dict[str, tuple[str, int]], shuffled: set[str]) -> None:
    # Markers that lie anywhere, too.
    elf = judge(
        image(
            {name: place for name, place in more.items() if name not in MARKED}
            | {
                name: ("D", place)
                for name, (_, place) in zip(shuffled, more.values(), strict=False)
            }
        ).file
    )
    assert elf.get_section_by_name(".symtab").num_symbols() > len(MARKED)
