"""judge: whether a file for debuggers is well-formed ELF and DWARF, by pyelftools."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import Any

from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

_PRINTABLE = re.compile(r"[ -~]+\Z")
_TYPES = {
    "DW_TAG_" + each + "_type"
    for each in (
        "array", "enumeration", "pointer", "structure", "subroutine", "union", "base", "const",
        "volatile", "restrict", "unspecified",
    )
} | {"DW_TAG_typedef"}  # fmt: skip


def judge(file: bytes) -> Any:
    """Return the file, read; AssertionError where something is not as it must be."""
    elf = ELFFile(io.BytesIO(file))
    sections = list(elf.iter_sections())
    for section in sections:
        if section["sh_type"] not in ("SHT_NOBITS", "SHT_NULL"):
            assert (
                0 < section["sh_offset"] <= section["sh_offset"] + section["sh_size"] <= len(file)
            )
    names = [section.name for section in sections[1:]]
    assert len(set(names)) == len(names)
    _judge_segments(elf)
    _judge_symbols(elf)
    if elf.get_section_by_name(".debug_info"):
        _judge_types(elf)
    if elf.get_section_by_name(".eh_frame"):
        _judge_frames(elf)
    return elf


def _judge_segments(elf: Any) -> None:
    segments = list(elf.iter_segments())
    end = 0
    for segment in segments:
        assert segment["p_vaddr"] >= end
        assert segment["p_filesz"] <= segment["p_memsz"]
        assert (segment["p_offset"] - segment["p_vaddr"]) % segment["p_align"] == 0
        end = segment["p_vaddr"] + segment["p_memsz"]
        assert end <= 1 << 64
    for section in elf.iter_sections():
        # What else debuggers warn of.
        if section["sh_flags"] & 2 and section["sh_type"] != "SHT_NOBITS":
            assert any(segment.section_in_segment(section) for segment in segments)
    alloc = sorted(
        (section["sh_addr"], section["sh_size"])
        for section in elf.iter_sections()
        if section["sh_flags"] & 2
    )
    for (start, size), (following, _) in pairwise(alloc):
        assert start + size <= following


def _judge_symbols(elf: Any) -> None:
    section = elf.get_section_by_name(".symtab")
    bindings = []
    for symbol in list(section.iter_symbols())[1:]:
        assert _PRINTABLE.match(symbol.name)
        bindings.append(symbol["st_info"]["bind"])
        index = symbol["st_shndx"]
        assert index == "SHN_ABS" or index < elf.num_sections()
        if index != "SHN_ABS":
            place = elf.get_section(index)
            assert place["sh_addr"] <= symbol["st_value"]
            assert symbol["st_value"] + symbol["st_size"] <= place["sh_addr"] + place["sh_size"]
    local = section["sh_info"] - 1
    assert set(bindings[:local]) <= {"STB_LOCAL"}
    assert "STB_LOCAL" not in bindings[local:]


def _judge_types(elf: Any) -> None:
    dwarf = elf.get_dwarf_info()
    units = list(dwarf.iter_CUs())
    assert len(units) == 1
    dies: dict[int, Any] = {die.offset: die for die in units[0].iter_DIEs()}
    end = units[0].cu_offset + units[0]["unit_length"] + 4
    assert end == elf.get_section_by_name(".debug_info")["sh_size"]
    code_end = 0
    for die in dies.values():
        for attribute in die.attributes.values():
            if attribute.form == "DW_FORM_ref4":
                target = dies[units[0].cu_offset + attribute.value]
                if attribute.name == "DW_AT_type":
                    assert target.tag in _TYPES
                else:
                    assert target.tag == "DW_TAG_subprogram"
            elif attribute.form == "DW_FORM_strp":
                assert _PRINTABLE.match(attribute.value.decode("ascii"))
                assert len(attribute.value) <= 1024
        if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes:
            start = die.attributes["DW_AT_low_pc"].value
            assert start >= code_end
            code_end = start + die.attributes["DW_AT_high_pc"].value
        if die.tag == "DW_TAG_member":
            _judge_member(die)


def _judge_member(die: Any) -> None:
    size = 8 * die.get_parent().attributes["DW_AT_byte_size"].value
    if "DW_AT_bit_size" in die.attributes:
        end = die.attributes["DW_AT_data_bit_offset"].value + die.attributes["DW_AT_bit_size"].value
    else:
        end = 8 * die.attributes["DW_AT_data_member_location"].value
    assert end <= size


def _judge_frames(elf: Any) -> None:
    end = 0
    frames = [each for each in elf.get_dwarf_info().EH_CFI_entries() if isinstance(each, FDE)]
    for frame in sorted(frames, key=lambda frame: frame["initial_location"]):
        assert frame["initial_location"] >= end
        end = frame["initial_location"] + frame["address_range"]
        assert frame["address_range"] > 0
        frame.get_decoded()
