"""A stand-in for a vmlinux: its sections at run-time addresses and its build-id, nothing else.

A debugger that is given it looks for the debug file of that build-id, in its own directories, at
the server, and by debuginfod. It moves that file section by section to where the stub's
sections of the same names are (gdb/symfile.c, addr_info_make_relative). So per-CPU variables,
which KASLR does not move, stay as they are.
"""

from __future__ import annotations

from kdump_gdbserver.domain.symbol_files.sections import SHT_NOTE, ElfSections, Section
from kdump_gdbserver.domain.symbols.writers import elf_file

_MASK = (1 << 64) - 1


def section_stub(vmlinux: ElfSections, offset: int) -> bytes:
    """Return the stand-in for a vmlinux that KASLR moved by `offset` bytes.

    Raises `ValueError` for one without a build-id: nothing would lead from the stub to it.
    """
    if vmlinux.build_id is None:
        raise ValueError("has no build-id")
    # Address 0 means "behind the section before" to gdb: what is linked there comes first.
    allocated = sorted(
        (each for each in vmlinux.sections if each.allocated and each.kind != SHT_NOTE),
        key=lambda each: each.address != 0,
    )
    sections = [
        elf_file.Section(
            each.name.encode("ascii", "replace").decode(), elf_file.NOBITS, each.flags,
            _moved(each, offset), size=each.size,
        )
        for each in allocated
    ]  # fmt: skip
    sections.append(elf_file.build_id_section(bytes.fromhex(vmlinux.build_id), vmlinux.byte_order))
    first = vmlinux.first_segment + offset & _MASK
    flags = elf_file.READABLE | elf_file.EXECUTABLE
    segment = elf_file.Segment(first, vmlinux.first_segment_size, flags)
    # gdb tells by their distance from the entry point whether two sections are the same one
    # (gdb/objfiles.h and minsyms.c): without it no symbol would be found.
    entry = vmlinux.entry + offset & _MASK
    return elf_file.write_elf(
        vmlinux.machine, vmlinux.byte_order, sections, (segment,), entry=entry
    ).file


def _moved(section: Section, offset: int) -> int:
    return section.address + offset & _MASK if section.address else 0
