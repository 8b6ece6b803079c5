"""The same machine behind several implementations of `CrashDump`.

A `FakeDump` is laid out anew as an ELF core with page tables, which are then opened by
`ElfCoreDump`, or by the program's own reader of dumps.
"""

from __future__ import annotations

import dataclasses
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.domain.arch import AARCH64, RISCV64, X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.ports.crash_dump import CrashDump, CrashDumpOpener
from tests.support.elf_core import ElfCoreOpener
from tests.support.fake_dump import FakeDump
from tests.support.page_table_writer import (
    Paging,
    TableWriter,
    aarch64_paging,
    riscv64_paging,
    x86_64_paging,
)

BACKENDS = ("fake", "elf core", "kdumpfile")
_OPENERS: dict[str, CrashDumpOpener] = {"elf core": ElfCoreOpener(), "kdumpfile": KdumpfileOpener()}
_PAGE = 4096
_PHYSICAL = (1 << 48) - 1
_TABLES, _TABLES_MAPPED_AT = 0x6000_0000_0000, 0xFFFF_FFFF_F000_0000
_USER_TABLES = 0x6100_0000_0000
PAGINGS: dict[str, Paging] = {
    X86_64.name: x86_64_paging(4, flags=0x7),
    AARCH64.name: aarch64_paging(_PAGE, 48),
    RISCV64.name: riscv64_paging(48),
}
# What a file says itself, whatever the fake has.
_OWN_FACTS = ("paths", "format", "arch", "page_size", "cpu_count", "hypervisor")


def reopened(dump: FakeDump, backend: str, folder: Path) -> CrashDump:
    """Return the fake itself, or its machine in a file of `folder`, opened by a backend."""
    if backend == "fake" or dump.facts.arch.name not in PAGINGS:
        return dump
    # A file of its own each time: one that is open must not be written to.
    with tempfile.NamedTemporaryFile(dir=folder, prefix="core", delete=False) as file:
        file.write(elf_core_of(dump))
    found = _OPENERS[backend].open([file.name])
    changed = {
        field.name: getattr(dump.facts, field.name)
        for field in dataclasses.fields(DumpFacts)
        if field.name not in _OWN_FACTS and getattr(dump.facts, field.name) != field.default
    }
    # A backend has no reason to let its facts be changed; here they stand for another machine.
    vars(found)["facts"] = dataclasses.replace(found.facts, **changed)
    return found


def elf_core_of(dump: FakeDump) -> bytes:
    """Lay a fake dump's machine out as an ELF core."""
    arch, paging = dump.facts.arch, PAGINGS[dump.facts.arch.name]
    kernel = TableWriter(paging, _TABLES)
    memory = {address & _PHYSICAL: data for address, data in dump.segments.values() if data}
    for address, data in dump.segments.values():
        for page in range(address - address % _PAGE, address + len(data), _PAGE):
            kernel.map(page, page & _PHYSICAL)
    kernel.map(_TABLES_MAPPED_AT, _TABLES)  # the table itself, as in a kernel
    memory |= kernel.segments
    assert len(dump.processes) <= 1
    for root, segments in dump.processes.items():
        user = TableWriter(paging, root, _USER_TABLES)
        for address, data in segments.values():
            for page in range(address - address % _PAGE, address + len(data), _PAGE):
                user.map(page, page)
        memory |= {address: data for address, data in segments.values() if data} | user.segments
    info = dump.vmcoreinfo.lines | _tables_told(arch)
    text = "".join(f"{key}={value}\n" for key, value in info.items()).encode()
    notes = b"".join(_prstatus(arch, note) for note in dump.notes)
    if dump.facts.hypervisor:
        notes += b"".join(_note(arch, b"QEMU", 0, bytes(440)) for _ in dump.notes)
    return _elf(arch, notes + _note(arch, b"VMCOREINFO", 0, text), memory)


def _tables_told(arch: Arch) -> dict[str, str]:
    """Return what the VMCOREINFO of a kernel says of its page tables."""
    told = {"SYMBOL(swapper_pg_dir)": f"{_TABLES_MAPPED_AT:x}"}
    offset = _TABLES_MAPPED_AT - _TABLES
    if arch is X86_64:
        return told | {"NUMBER(phys_base)": str(-(offset - 0xFFFF_FFFF_8000_0000))}
    if arch is AARCH64:
        told |= {"NUMBER(kimage_voffset)": hex(offset), "NUMBER(TCR_EL1_T1SZ)": "0x10"}
    else:
        told |= {"NUMBER(va_kernel_pa_offset)": hex(offset)}
    return told | {"NUMBER(VA_BITS)": "48", "PAGESIZE": str(_PAGE)}


def _prstatus(arch: Arch, note: CpuNote) -> bytes:
    layout = arch.prstatus
    assert layout is not None
    raw = bytearray(layout.size)
    struct.pack_into("<I", raw, layout.pid_at or 0, (note.pid or 0) & 0xFFFFFFFF)
    for name, offset, size in layout.registers:
        raw[offset : offset + size] = note.registers.get(name, 0).to_bytes(size, "little")
    return _note(arch, b"CORE", 1, bytes(raw))


def _note(arch: Arch, name: bytes, kind: int, descriptor: bytes) -> bytes:
    padded = name + b"\0"
    return (
        struct.pack("<3I", len(padded), len(descriptor), kind)
        + padded.ljust(-(-len(padded) // 4) * 4, b"\0")
        + descriptor.ljust(-(-len(descriptor) // 4) * 4, b"\0")
    )


def _elf(arch: Arch, notes: bytes, memory: Mapping[int, bytes]) -> bytes:
    count = len(memory) + 1
    offset = 64 + 56 * count
    headers = [struct.pack("<IIQQQQQQ", 4, 0, offset, 0, 0, len(notes), len(notes), 0)]
    offset += len(notes)
    for address in sorted(memory):
        size = len(memory[address])
        headers.append(struct.pack("<IIQQQQQQ", 1, 7, offset, 0, address, size, size, 0))
        offset += size
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 4, arch.elf_machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    data = b"".join(memory[address] for address in sorted(memory))
    return header + b"".join(headers) + notes + data
