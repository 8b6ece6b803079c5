"""Programs with compressed DWARF: smaller, with the same contents, headers read bit by bit."""

from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile

from kdump_gdbserver.application.made_file import MadeFile
from kdump_gdbserver.domain.symbol_files.compression import compressed
from kdump_gdbserver.domain.symbol_files.sections import read_sections
from tests.support.elf_writer import write_elf

TEXT = 0xFFFFFFFF81000000
DWARF = {".debug_info": b"info" * 500, ".debug_str": b"names\0" * 300}


def with_dwarf() -> bytes:
    return write_elf({"_text": TEXT}, more={name: (0, data) for name, data in DWARF.items()})


def test_dwarf_is_smaller_and_the_same() -> None:
    before = with_dwarf()
    after = compressed(before)
    assert len(after) < len(before) - 2000
    old, new = ELFFile(io.BytesIO(before)), ELFFile(io.BytesIO(after))
    for section, again in zip(old.iter_sections(), new.iter_sections(), strict=True):
        assert (section.name, section["sh_type"]) == (again.name, again["sh_type"])
        assert section.data() == again.data()
        assert bool(again.compressed) == section.name.startswith(".debug_")
    assert old.header["e_phoff"] == new.header["e_phoff"]


def test_a_program_without_dwarf_stays_as_it_is() -> None:
    plain = write_elf({"_text": TEXT})
    old, new = ELFFile(io.BytesIO(plain)), ELFFile(io.BytesIO(compressed(plain)))
    assert [s.data() for s in old.iter_sections()] == [s.data() for s in new.iter_sections()]


def test_what_is_not_sound_is_refused() -> None:
    for broken in (b"", b"\x7fELF", with_dwarf()[:-1]):
        with pytest.raises(ValueError, match=r"header|cut short|ends within"):
            compressed(broken)


def test_a_read_ends_where_a_part_does() -> None:
    file = compressed(with_dwarf())
    elf = read_sections(lambda at, count: file[at : at + count], len(file))
    parts = elf.parts
    assert parts == sorted(set(parts))
    made = MadeFile(file, parts)
    assert made.read(0, 1 << 20) == file[: elf.headers_end]
    info = elf.section(".debug_info")
    assert info is not None
    assert len(made.read(info.offset, 1 << 20)) == 24  # what says how it is compressed
    assert made.read(info.offset + 24, 1 << 20) == file[info.offset + 24 : info.offset + info.size]
    content, reads = b"", 0
    while part := made.read(len(content), 1 << 20):
        content += part
        reads += 1
    assert content == file
    assert reads <= len(parts) + 1
    assert made.read(3, 5) == file[3:8]
