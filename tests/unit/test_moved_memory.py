"""ELF dumps of QEMU whose notes are not as long as the headers say: memory is then elsewhere.

QEMU writes notes, memory and section names one after the other (dump/dump.c); in 7.2 CPUs with
different SVE vector lengths have notes of other sizes than it has counted.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS
from kdump_gdbserver.adapters.kdumpfile.formats.elf_header import read_elf_header
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader, UnusableFileError
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.cli.console import warnings_about
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.errors import DumpOpenError, MemoryFault
from tests.support.note_writer import note
from tests.unit.kdumpfile_support import Machine, write
from tests.unit.vmcore_builder import PAGE

MACHINE = Machine()
NAMES = b"\0.shstrtab\0"


def qemu_dump(
    said: int,
    notes: bytes = MACHINE.notes,
    memory: bytes = bytes(MACHINE.memory),
    order: ByteOrder = "little",
) -> bytes:
    """As QEMU writes it, with notes of `said` bytes more (or less) by the headers."""
    mark, sections_at, table_at = MARKS[order], 64, 192
    notes_at = table_at + 2 * 56
    memory_at = notes_at + len(notes) + said
    ident = b"\x7fELF" + bytes((2, 1 if order == "little" else 2, 1))
    machine = 62 if order == "little" else 22
    head = struct.pack(mark + "16sHHIQQQIHHHHHH", ident.ljust(16, b"\0"), 4, machine, 1, 0,
                       table_at, sections_at, 0, 64, 56, 2, 64, 2, 1)  # fmt: skip
    # These are little-endian in every dump that a little-endian QEMU writes.
    names_at = memory_at + len(memory)
    sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, names_at, len(NAMES), 0, 0, 0, 0)
    size = len(notes) + said
    segments = struct.pack(mark + "IIQQQQQQ", 4, 0, notes_at, 0, 0, size, size, 0)
    segments += struct.pack(mark + "IIQQQQQQ", 1, 0, memory_at, 0, 0, len(memory), len(memory), 0)
    return head + sections + segments + notes + memory + NAMES


def header_of(data: bytes) -> FileHeader:
    return read_elf_header(lambda at, size: data[at : at + size], len(data))


# Long enough for a note to be cut, and for several to be missing.
@pytest.mark.parametrize("said", [-600, -4, 0, 4, 1632, 9000])
def test_memory_is_read_from_where_it_is(tmp_path: Path, said: int) -> None:
    dump = KdumpfileOpener().open([write(tmp_path, qemu_dump(said))])
    assert dump.physical().read_exact(0, MACHINE.RAM) == bytes(MACHINE.memory)
    text = DumpMemory(dump).kernel().read_exact(MACHINE.TEXT, PAGE)
    assert text == bytes(MACHINE.memory[MACHINE.TEXT_AT : MACHINE.TEXT_AT + PAGE])
    assert [cpu.registers["rip"] for cpu in dump.cpu_notes()] == [MACHINE.TEXT, MACHINE.TEXT + 8]
    assert dump.vmcoreinfo.release == "6.1.0-test"
    assert (dump.facts.memory_moved, dump.facts.truncated) == (-said, False)
    told = [line for line in warnings_about(dump, None, None) if "headers say" in line]
    assert len(told) == (said != 0)
    dump.close()


def test_a_big_endian_dump_is_proved_in_the_same_way() -> None:
    body = bytes(range(256)) * 16
    header = header_of(qemu_dump(8, note(b"CORE", 1, bytes(336), byte_order="big"), body, "big"))
    assert header.moved == -8


@pytest.mark.parametrize("cut", [1, len(NAMES), len(NAMES) + 1, PAGE])
def test_a_dump_that_is_cut_besides_is_refused_in_one_line(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, qemu_dump(1632)[:-cut])
    with pytest.raises(DumpOpenError, match=r"^[^\n]*its notes end 1632 bytes before[^\n]*$"):
        KdumpfileOpener().open([path])


@given(st.integers(-40, 40).map(lambda words: 4 * words), st.integers(0, 3 * PAGE), st.booleans())
def test_a_byte_is_the_right_one_or_is_not_there(said: int, cut: int, zeros: bool) -> None:
    memory = bytes(PAGE) * zeros + bytes(MACHINE.memory[: 4 * PAGE])
    data = qemu_dump(said, memory=memory)
    data = data[: len(data) - cut]
    try:
        header = header_of(data)
    except UnusableFileError:
        assert said and cut
        return
    assert header.extents is not None
    for extent in header.extents:
        size = extent.end - extent.start
        found = data[extent.offset : extent.offset + size]
        assert found == memory[extent.start : extent.end]


def test_a_dump_that_is_cut_says_so_as_before(tmp_path: Path) -> None:
    dump = KdumpfileOpener().open([write(tmp_path, qemu_dump(0)[:-PAGE])])
    assert dump.facts.truncated
    assert dump.facts.memory_moved == 0
    with pytest.raises(MemoryFault, match="truncated"):
        dump.physical().read(MACHINE.RAM - 8, 8)
    dump.close()


@pytest.mark.parametrize(("tail", "told"), [(b"", 0), (bytes(32), 0), (b"\1" * 32, 1)])
def test_notes_that_do_not_end_where_they_should_are_told(
    tmp_path: Path, tail: bytes, told: int
) -> None:
    """An area may end in zeros, as the kernel's does."""
    dump = KdumpfileOpener().open([write(tmp_path, qemu_dump(0, MACHINE.notes + tail))])
    lines = [line for line in warnings_about(dump, None, None) if "notes are damaged" in line]
    assert (dump.facts.notes_unread, len(lines)) == (bool(told), told)
    dump.close()
