"""Writes the crash dump as /proc/vmcore shows it: an ELF core with physical memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder import layout
from builder.layout import PAGE, direct
from builder.machine import Machine

EM_X86_64, ET_CORE, PT_LOAD, PT_NOTE, RWX = 62, 4, 1, 4, 7
KALLSYMS = "names num_syms token_table token_index offsets relative_base".split()


@dataclass(frozen=True)
class Segment:
    """Memory in the dump: virtual and physical start, bytes in the file, bytes in memory."""

    virtual: int
    physical: int
    file_size: int
    memory_size: int


def segments(machine: Machine) -> list[Segment]:
    """The kernel text mapping first, then RAM in the direct mapping, by rising address."""
    size = machine.kernel_size
    tables = machine.tables.next_frame - layout.TABLES_PHYS
    ram = [
        (layout.LOW_PAGE, PAGE, PAGE),
        (layout.KERNEL_PHYS, size, size),
        (layout.TABLES_PHYS, tables, tables),
        (layout.FRAMES_PHYS, layout.FRAMES * PAGE, layout.FRAMES * PAGE),
        (layout.ZERO_TAIL_PHYS, PAGE, layout.ZERO_TAIL_PAGES * PAGE),
        (layout.HIGH_PAGE, PAGE, PAGE),
    ]
    text = Segment(machine.virtual("_text"), layout.KERNEL_PHYS, size, size)
    return [text, *(Segment(direct(start), start, *sizes) for start, *sizes in ram)]


def vmcoreinfo_text(machine: Machine, build_id: str) -> str:
    """What kernel/crash_core.c and arch/x86 put there, as far as the toy kernel has it."""

    def symbol(name: str) -> str:
        return f"SYMBOL({name})={machine.virtual(name):x}"

    lines = [
        f"OSRELEASE={layout.RELEASE}",
        f"BUILD-ID={build_id}",
        f"PAGESIZE={PAGE}",
        symbol("init_uts_ns"),
        "OFFSET(uts_namespace.name)=0",
        symbol("node_online_map"),
        f"SYMBOL(swapper_pg_dir)={machine.virtual('init_top_pgt'):x}",
        symbol("_stext"),
        "SIZE(list_head)=16",
        "OFFSET(list_head.next)=0",
        "OFFSET(list_head.prev)=8",
        *(symbol(f"kallsyms_{name}") for name in KALLSYMS),
        f"NUMBER(phys_base)={machine.phys_base}",
        symbol("init_top_pgt"),
        "NUMBER(pgtable_l5_enabled)=0",
        f"KERNELOFFSET={layout.KASLR_OFFSET:x}",
        f"NUMBER(KERNEL_IMAGE_SIZE)={layout.KERNEL_IMAGE_SIZE}",
        "NUMBER(sme_mask)=0",
        f"CRASHTIME={layout.CRASHTIME}",
    ]
    return "".join(line + "\n" for line in lines)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def vmcoreinfo_note(text: str) -> bytes:
    """The text as an ELF note."""
    data = text.encode()
    return struct.pack("<III", 11, len(data), 0) + _padded(b"VMCOREINFO\0") + _padded(data)


def _program_headers(machine: Machine, notes_size: int) -> Iterator[bytes]:
    parts = segments(machine)
    start = 64 + 56 * (1 + len(parts))
    yield struct.pack("<IIQQQQQQ", PT_NOTE, 0, start, 0, 0, notes_size, notes_size, 4)
    offset = -(-(start + notes_size) // PAGE) * PAGE
    offsets: dict[int, int] = {}
    for part in parts[1:]:
        offsets[part.physical] = offset
        offset += part.file_size
    for part in parts:  # the text mapping shares its bytes with the direct mapping
        yield struct.pack(
            "<IIQQQQQQ",
            PT_LOAD,
            RWX,
            offsets[part.physical],
            part.virtual,
            part.physical,
            part.file_size,
            part.memory_size,
            PAGE,
        )


def write(machine: Machine, build_id: str, target: Path) -> None:
    """Write the dump; the VMCOREINFO note also goes into the kernel's own vmcoreinfo_note."""
    info = vmcoreinfo_note(vmcoreinfo_text(machine, build_id))
    assert len(info) <= PAGE
    machine.memory.write(machine.physical("vmcoreinfo_note"), info)
    notes = machine.crash_note(0) + machine.crash_note(1) + info
    headers = list(_program_headers(machine, len(notes)))
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    data = struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident,
        ET_CORE,
        EM_X86_64,
        1,
        0,
        64,
        0,
        0,
        64,
        56,
        len(headers),
        0,
        0,
        0,
    )
    data += b"".join(headers) + notes
    data += bytes(-len(data) % PAGE)
    for part in segments(machine)[1:]:
        data += machine.memory.read(part.physical, part.file_size)
    target.write_bytes(data)
