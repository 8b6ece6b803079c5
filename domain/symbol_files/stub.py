"""A stand-in for a vmlinux: its sections at run-time addresses and its build-id, nothing else.

A debugger that is given it looks for the debug file of that build-id, in its own directories, at
the server, and by debuginfod. It moves that file section by section to where the stub's
sections of the same names are (gdb/symfile.c, addr_info_make_relative). So per-CPU variables,
which KASLR does not move, stay as they are.
"""

from __future__ import annotations

import struct

from kdump_gdbserver.domain.symbol_files.sections import (
    EHDR,
    PHDR,
    PT_LOAD,
    SHDR,
    SHT_NOBITS,
    SHT_NOTE,
    ElfSections,
    Section,
)

_ET_EXEC = 2
_SHT_STRTAB = 3
_READ_EXECUTE = 5
_ALIGNMENT = 16
_PAGE = 0x1000
_MASK = (1 << 64) - 1
_IDENT = {"little": b"\x7fELF\x02\x01\x01", "big": b"\x7fELF\x02\x02\x01"}


def section_stub(vmlinux: ElfSections, offset: int) -> bytes:
    """Return the stand-in for a vmlinux that KASLR moved by `offset` bytes.

    Raises `ValueError` for one without a build-id: nothing would lead from the stub to it.
    """
    if vmlinux.build_id is None:
        raise ValueError("has no build-id")
    prefix = "<" if vmlinux.byte_order == "little" else ">"
    # Address 0 means "behind the section before" to gdb: what is linked there comes first.
    allocated = sorted(
        (each for each in vmlinux.sections if each.allocated and each.kind != SHT_NOTE),
        key=lambda each: each.address != 0,
    )
    identity = bytes.fromhex(vmlinux.build_id)
    note = struct.pack(prefix + "3I", 4, len(identity), 3) + b"GNU\0" + identity
    rows = [
        (each.name, SHT_NOBITS, each.flags, _moved(each, offset), each.size, b"")
        for each in allocated
    ]
    rows.append((".note.gnu.build-id", SHT_NOTE, 0, 0, len(note), note))
    texts = [name.encode("ascii", "replace") + b"\0" for name, *_ in rows] + [b".shstrtab\0"]
    names = b"\0" + b"".join(texts)
    rows.append((".shstrtab", _SHT_STRTAB, 0, 0, len(names), names))
    body = bytearray(struct.calcsize("=" + EHDR) + struct.calcsize("=" + PHDR))
    headers = bytearray(struct.calcsize("=" + SHDR))
    name_at = 1
    for (_, kind, flags, address, size, data), text in zip(rows, texts, strict=True):
        place = (name_at, kind, flags, address, len(body), size, 0, 0, 1, 0)
        headers += struct.pack(prefix + SHDR, *place)
        name_at += len(text)
        body += data
        body += bytes(-len(body) % _ALIGNMENT)
    count = len(rows) + 1
    # gdb tells by their distance from the entry point whether two sections are the same one
    # (gdb/objfiles.h and minsyms.c): without it no symbol would be found.
    entry = vmlinux.entry + offset & _MASK
    size, phdr, shdr = (struct.calcsize("=" + form) for form in (EHDR, PHDR, SHDR))
    struct.pack_into(
        prefix + EHDR,
        body,
        0,
        *(_IDENT[vmlinux.byte_order], _ET_EXEC, vmlinux.machine, 1, entry, size, len(body), 0),
        *(size, phdr, 1, shdr, count, count - 1),
    )
    at = vmlinux.first_segment + offset & _MASK
    memory = (at, at, 0, vmlinux.first_segment_size, _PAGE)
    struct.pack_into(prefix + PHDR, body, size, PT_LOAD, _READ_EXECUTE, _PAGE, *memory)
    return bytes(body + headers)


def _moved(section: Section, offset: int) -> int:
    return section.address + offset & _MASK if section.address else 0
