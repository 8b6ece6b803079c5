"""Writes small ELF files: a segment, a build-id note, a symbol table."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

from tests.support.note_writer import note

_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOTE = 1, 2, 3, 7


def write_elf(
    symbols: Mapping[str, int],
    segments: tuple[int, ...] = (0xFFFFFFFF81000000,),
    build_id: bytes | None = b"\xab\xcd" * 10,
    *,
    machine: int = 62,
    elf_type: int = 2,
    notes_before: bytes = b"",
    more: Mapping[str, tuple[int, bytes]] | None = None,
    of_section: Mapping[str, str] | None = None,
    allocated: Collection[str] = (),
    start: int = 0,
) -> bytes:
    """Write an ELF64 little-endian file with PT_LOADs at these addresses.

    `elf_type` is e_type, 2 being ET_EXEC; `notes_before` are notes of others that stand before
    the build-id. `more` are sections with their addresses. Symbols are absolute but for those
    that `of_section` gives a section of these. `allocated` of these are in memory;
    `start` is e_entry. A name may end in `@` and a number to have several symbols of it.
    """
    names = b"\0" + b"".join(name.split("@")[0].encode() + b"\0" for name in symbols)
    others = list(more or {})
    table, at = bytes(24), 1
    for name, value in symbols.items():
        owner = (of_section or {}).get(name)
        number = 0xFFF1 if owner is None else others.index(owner) + 5
        table += struct.pack("<IBBHQQ", at, 0x11, 0, number, value, 8)
        at += len(name.split("@")[0]) + 1
    notes = b"" if build_id is None else note(b"GNU", 3, build_id)
    notes = notes_before + notes
    section_names = b"\0.note.gnu.build-id\0.symtab\0.strtab\0.shstrtab\0"
    section_names += b"".join(name.encode() + b"\0" for name in others)
    sections = [  # name, type, data, link, entry size, address
        (b".note.gnu.build-id", _SHT_NOTE, notes, 0, 0, 0),
        (b".symtab", _SHT_SYMTAB, table, 3, 24, 0),
        (b".strtab", _SHT_STRTAB, names, 0, 0, 0),
        (b".shstrtab", _SHT_STRTAB, section_names, 0, 0, 0),
        *((n.encode(), _SHT_PROGBITS, data, 0, 0, at) for n, (at, data) in (more or {}).items()),
    ]
    body_at = 64 + 56 * len(segments)
    body, headers = b"", bytes(64)
    for section, kind, data, link, entry, address in sections:
        body += b"\0" * (-len(body) % 8)
        headers += struct.pack(
            "<2I4Q2I2Q", section_names.index(b"\0" + section + b"\0") + 1, kind,
            2 if section.decode() in allocated else 0, address,
            body_at + len(body), len(data), link, 0, 8, entry,
        )  # fmt: skip
        body += data
    body += b"\0" * (-len(body) % 8)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<2HI3QI6H", elf_type, machine, 1, start, 64, body_at + len(body), 0, 64, 56,
        len(segments), 64,
        len(sections) + 1, 4,
    )  # fmt: skip
    programs = b"".join(
        struct.pack("<2I6Q", 1, 5, 0, address, address, 0, 0, 4096) for address in segments
    )
    return header + programs + body + headers
