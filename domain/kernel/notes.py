"""ELF notes, of a dump or of any other file, and the build-id that one of them holds."""

import struct
from typing import Any, Iterator, NamedTuple, Optional, Tuple

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
