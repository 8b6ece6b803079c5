"""ELF notes, of a dump or of any other file, and what two of them say: build-id, VMCOREINFO."""

import struct
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

_NT_GNU_BUILD_ID = 3


class Note(NamedTuple):
    """One ELF note; `name` is without the NULs at its end."""

    name: bytes
    type: int
    descriptor: bytes


def parse_notes(area: bytes, byte_order: Any = "little") -> Iterator[Note]:
    """Yield the notes of an area, up to the first that is not whole.

    Empty ones are left out: the kernel ends its notes with one. Format: elf(5), "Notes (Nhdr)".
    """
    for note, _end in _notes_with_ends(area, byte_order):
        yield note


def notes_end(area: bytes, byte_order: Any = "little") -> int:
    """Return how many bytes of an area the notes take that `parse_notes` finds."""
    return max((end for _note, end in _notes_with_ends(area, byte_order)), default=0)


def _notes_with_ends(area: bytes, byte_order: Any) -> Iterator[Tuple[Note, int]]:
    header = struct.Struct("<III" if byte_order == "little" else ">III")
    at = 0
    while at + header.size <= len(area):
        name_size, size, kind = header.unpack_from(area, at)
        name_at = at + header.size
        start = name_at + (name_size + 3 & ~3)
        at = start + (size + 3 & ~3)
        if start + size > len(area):
            return
        name = area[name_at : name_at + name_size].rstrip(b"\0")
        if name or size:
            yield Note(name, kind, area[start : start + size]), min(at, len(area))


def find_build_id(area: bytes, byte_order: Any) -> Optional[str]:
    """Return the GNU build-id among the notes of an area as lower-case hex, or None."""
    for note in parse_notes(area, byte_order):
        if note.type == _NT_GNU_BUILD_ID and note.name == b"GNU" and note.descriptor:
            return note.descriptor.hex()
    return None


def parse_vmcoreinfo(text: bytes) -> Dict[str, str]:
    """Return the lines NAME=VALUE of a VMCOREINFO text; what is not such a line is left out."""
    lines = text.split(b"\0", 1)[0].decode("ascii", "replace").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line]
    notes = dict(pairs)
    for name, base in (("CRASHTIME", 10), ("KERNELOFFSET", 16), ("BUILD-ID", 16)):
        try:
            int(notes.get(name, "0"), base)
        except ValueError:
            del notes[name]
    return notes


def note_number(notes: Dict[str, str], name: str) -> Optional[int]:
    """Return NUMBER(name) of VMCOREINFO, decimal or, with 0x, hex; None if there is none."""
    try:
        return int(notes["NUMBER(%s)" % name], 0) % 2**64
    except (KeyError, ValueError):
        return None
