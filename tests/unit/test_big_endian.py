"""Dumps of the other byte order, such as the files of s390x."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import reader_of
from kdump_gdbserver.adapters.kdumpfile.formats.elf_header import read_elf_header
from kdump_gdbserver.adapters.kdumpfile.formats.elf_stub import make_stub, needs_stub
from kdump_gdbserver.domain.arch import S390X
from kdump_gdbserver.domain.cpu_notes import cpu_notes

PAGE = 4096
MEMORY = bytes(range(256)) * 16


def big_endian_core(machine: int) -> bytes:
    """An ELF core with one CPU's note, a page of memory at 64 KiB, and section headers."""
    status = bytearray(336)
    struct.pack_into(">I", status, 32, 77)
    struct.pack_into(">QQ", status, 112, 1 << 48, 0x1234)
    note = struct.pack(">III", 5, len(status), 1) + b"CORE\0\0\0\0" + bytes(status)
    notes_at, memory_at = 64 + 2 * 56, PAGE
    ident = b"\x7fELF\x02\x02\x01".ljust(16, b"\0")
    sections_at = memory_at + PAGE
    head = struct.pack(">16sHHIQQQIHHHHHH", ident, 4, machine, 1, 0, 64, sections_at,
                       0, 64, 56, 2, 64, 1, 0)  # fmt: skip
    table = struct.pack(">IIQQQQQQ", 4, 0, notes_at, 0, 0, len(note), len(note), 0)
    table += struct.pack(">IIQQQQQQ", 1, 0, memory_at, 0, 0x10000, PAGE, PAGE, 0)
    return (head + table + note).ljust(memory_at, b"\0") + MEMORY + bytes(64)


def test_an_elf_core_of_s390x_is_read_in_its_byte_order() -> None:
    data = big_endian_core(22)
    header = read_elf_header(lambda at, size: data[at : at + size], len(data))
    assert (header.machine, header.byte_order) == ("s390x", "big")
    assert header.extents is not None
    assert [tuple(extent) for extent in header.extents] == [(0x10000, 0x11000, PAGE)]
    found = cpu_notes(header.notes, S390X, header.byte_order)
    assert found is not None
    assert (found[0].pid, found[0].registers["pswm"]) == (77, 1 << 48)
    assert S390X.is_user_mode(found[0].registers)


def test_a_file_of_the_other_byte_order_does_not_tell_its_architecture() -> None:
    """Of ppc64 QEMU writes that which a CPU was in, and firmware is big-endian."""
    data = big_endian_core(21)
    header = read_elf_header(lambda at, size: data[at : at + size], len(data))
    assert header.machine is None


def test_libkdumpfile_gets_headers_and_notes_alone(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(big_endian_core(22))
    file = os.open(path, os.O_RDONLY)
    size = path.stat().st_size
    original = read_elf_header(reader_of(file, size), size)
    assert needs_stub(original)
    stub = make_stub(file, original)
    try:
        size = os.fstat(stub).st_size
        copy = read_elf_header(reader_of(stub, size), size)
        assert copy.notes == original.notes
        assert copy.extents is not None
        assert copy.extents.total() == 0
        assert not any(os.pread(stub, 8, 40) + os.pread(stub, 6, 58))  # no section headers
    finally:
        os.close(stub)
        os.close(file)
