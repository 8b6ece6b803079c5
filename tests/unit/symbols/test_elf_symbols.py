"""ElfSymbolFile: what a vmlinux tells, and what is said of files that are none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.elf_symbols import ElfSymbolFile
from kdump_gdbserver.domain.errors import InputError
from tests.support.elf_writer import write_elf
from tests.support.refusals import refused

SYMBOLS = {"_text": 0xFFFFFFFF81000000, "panic_cpu": 0xFFFFFFFF82001234, "current_task": 0x1FC00}


@pytest.fixture
def vmlinux(tmp_path: Path) -> Callable[[bytes], str]:
    """Write a file and return its path."""

    def write(content: bytes) -> str:
        path = tmp_path / "vmlinux"
        path.write_bytes(content)
        return str(path)

    return write


def test_build_id_segment_and_symbols(vmlinux: Callable[[bytes], str]) -> None:
    file = ElfSymbolFile(vmlinux(write_elf(SYMBOLS, (0x1000, 0x9000))))
    assert (file.build_id, file.first_segment) == ("abcd" * 10, 0x1000)
    types = file.types(0)
    assert (types.symbol("panic_cpu"), types.symbol("no_such")) == (0xFFFFFFFF82001234, None)
    assert {name: types.symbol(name) for name in SYMBOLS} == SYMBOLS


def test_a_file_without_build_id_has_none(vmlinux: Callable[[bytes], str]) -> None:
    assert ElfSymbolFile(vmlinux(write_elf({}, build_id=None))).build_id is None


def test_a_note_of_the_same_number_but_another_owner_is_no_build_id(
    vmlinux: Callable[[bytes], str],
) -> None:
    """A kernel for Xen guests has Xen's note 3 before the GNU note 3."""
    xen = struct.pack("<3I4sQ", 4, 8, 3, b"Xen", 0xFFFFFFFF80000000)
    assert ElfSymbolFile(vmlinux(write_elf({}, notes_before=xen))).build_id == "abcd" * 10


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"MZ" + bytes(512), b"#!/bin/sh\n", write_elf({})[:70], b"\0" * 64]
)
def test_what_is_no_elf_is_refused(vmlinux: Callable[[bytes], str], content: bytes) -> None:
    path = vmlinux(content)
    message = refused(ElfSymbolFile, path)
    assert message.startswith(f"{path}: ")
    assert "give the" in message


def test_an_elf_file_that_was_not_linked_is_refused(vmlinux: Callable[[bytes], str]) -> None:
    path = vmlinux(write_elf(SYMBOLS, ()))
    assert "PT_LOAD" in refused(ElfSymbolFile, path)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(1, "was not linked (ET_REL)"), (4, "is a core file"), (7, "is of ELF type 7")],
)
def test_an_elf_file_that_is_no_program_is_refused(
    vmlinux: Callable[[bytes], str], kind: int, said: str
) -> None:
    path = vmlinux(write_elf(SYMBOLS, elf_type=kind))
    message = refused(ElfSymbolFile, path)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "give the vmlinux" in message
    advised = refused(ElfSymbolFile, path, "give the executable")
    assert said in advised
    assert advised.endswith("; give the executable")


def test_machine_and_whether_there_are_symbols(vmlinux: Callable[[bytes], str]) -> None:
    file = ElfSymbolFile(vmlinux(write_elf(SYMBOLS, machine=183, elf_type=3)))
    assert (file.machine, file.has_symbols) == (183, True)
    assert not ElfSymbolFile(vmlinux(write_elf({}))).has_symbols
    assert ElfSymbolFile(vmlinux(write_elf(SYMBOLS, machine=0xFEED))).machine == 0xFEED


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        message = refused(ElfSymbolFile, str(path))
        assert message.startswith(f"{path}: {said}")


def test_a_file_that_is_gone_when_symbols_are_wanted_is_an_input_error(
    vmlinux: Callable[[bytes], str],
) -> None:
    path = vmlinux(write_elf(SYMBOLS))
    file = ElfSymbolFile(path)
    Path(path).unlink()
    assert path in refused(file.types, 0)


@given(st.data())
def test_a_damaged_file_gives_answers_or_an_input_error(
    vmlinux: Callable[[bytes], str], data: st.DataObject
) -> None:
    content = bytearray(write_elf(SYMBOLS))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = vmlinux(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        file = ElfSymbolFile(path)
        assert isinstance(file.first_segment, int)
        assert file.build_id is None or file.build_id.islower() or file.build_id.isdigit()
        file.types(0).symbol("panic_cpu")
    except InputError as error:
        assert path in str(error)


@given(st.binary(max_size=3), st.integers(0, 63))
def test_any_header_gives_answers_or_an_input_error(
    vmlinux: Callable[[bytes], str], noise: bytes, at: int
) -> None:
    content = bytearray(write_elf(SYMBOLS))
    content[at : at + len(noise)] = noise
    try:
        ElfSymbolFile(vmlinux(bytes(content))).types(0).symbol("panic_cpu")
    except InputError:
        return
