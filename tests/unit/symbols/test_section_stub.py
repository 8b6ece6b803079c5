"""The stand-in for a vmlinux by which gdb takes that one, and what is read for it."""

from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.symbol_files.sections import (
    ElfSections,
    is_vmlinux_of,
    read_sections,
)
from kdump_gdbserver.domain.symbol_files.stub import section_stub
from tests.support.elf_writer import write_elf

TEXT, PERCPU, BUILD_ID = 0xFFFFFFFF81000000, ".data..percpu", b"\xab\xcd" * 10
VMLINUX = write_elf(
    {"_text": TEXT},
    build_id=BUILD_ID,
    more={
        ".text": (TEXT, b"\x90" * 64),
        ".data": (TEXT + 0x1000, b"data"),
        PERCPU: (0, b"percpu"),
        ".debug_info": (0, b"dwarf"),
    },
    allocated={".text", ".data", PERCPU},
    start=0x1000B53,
)


def sections_of(file: bytes) -> ElfSections:
    return read_sections(lambda offset, count: file[offset : offset + count], len(file))


def proved(file: bytes, build_id: str = BUILD_ID.hex(), machine: int = 62) -> bool:
    return is_vmlinux_of(lambda at, count: file[at : at + count], len(file), build_id, machine)


@pytest.mark.parametrize("offset", [0, 0x38C00000, -0x1000000])
def test_its_sections_are_where_the_kernel_runs_and_per_cpu_ones_do_not_move(offset: int) -> None:
    vmlinux = sections_of(VMLINUX)
    stub = section_stub(vmlinux, offset)
    elf = ELFFile(io.BytesIO(stub))
    text = TEXT + offset
    found = [
        (each.name, each["sh_type"], each["sh_addr"], each["sh_size"])
        for each in elf.iter_sections()
        if each["sh_flags"] & 2
    ]
    assert found == [
        (PERCPU, "SHT_NOBITS", 0, 6),
        (".text", "SHT_NOBITS", text, 64),
        (".data", "SHT_NOBITS", text + 0x1000, 4),
    ]
    # gdb takes two sections for one by their distance from the entry point.
    assert elf["e_entry"] == (0x1000B53 + offset) % (1 << 64)
    (load,) = elf.iter_segments()
    assert (load["p_type"], load["p_vaddr"], load["p_filesz"]) == ("PT_LOAD", text, 0)
    note = elf.get_section_by_name(".note.gnu.build-id")
    assert isinstance(note, NoteSection)
    assert next(note.iter_notes())["n_desc"] == BUILD_ID.hex()
    assert not elf.has_dwarf_info()
    assert sections_of(stub).build_id == vmlinux.build_id == BUILD_ID.hex()


def test_without_a_build_id_nothing_would_lead_to_the_vmlinux() -> None:
    plain = write_elf({"_text": TEXT}, build_id=None)
    with pytest.raises(ValueError, match="has no build-id"):
        section_stub(sections_of(plain), 0)


def test_a_vmlinux_is_known_by_build_id_machine_and_dwarf() -> None:
    assert proved(VMLINUX)
    assert not proved(VMLINUX, build_id="12" * 20)
    assert not proved(VMLINUX, machine=183)
    assert not proved(write_elf({"_text": TEXT}, build_id=BUILD_ID))  # without DWARF


def test_one_that_is_cut_short_anywhere_is_refused() -> None:
    for size in range(len(VMLINUX)):
        assert not proved(VMLINUX[:size])


@given(st.lists(st.tuples(st.integers(0, len(VMLINUX) - 1), st.integers(0, 255)), max_size=8))
def test_damaged_headers_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(VMLINUX)
    for place, value in changes:
        damaged[place] = value
    try:
        sections = sections_of(bytes(damaged))
    except ValueError as error:
        assert "\n" not in str(error)
        return
    if sections.build_id is None or any(each.address >> 64 for each in sections.sections):
        return
    stub = section_stub(sections, 0x1000)
    assert ELFFile(io.BytesIO(stub)).num_sections() > 1
