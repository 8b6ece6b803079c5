"""ELF notes as they stand in a dump: a name, a type and a descriptor each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = struct.Struct("<III")
NT_PRSTATUS = 1


class Note(NamedTuple):
    """One note (System V ABI, "Note Section")."""

    name: bytes
    type: int
    descriptor: bytes


def parse_notes(area: bytes) -> Iterator[Note]:
    """Yield the notes of an area, up to the first that is not whole."""
    at = 0
    while at + _HEADER.size <= len(area):
        name_size, size, kind = _HEADER.unpack_from(area, at)
        name_at = at + _HEADER.size
        start = name_at + (name_size + 3 & ~3)
        at = start + (size + 3 & ~3)
        if start + size > len(area):
            return
        name = area[name_at : name_at + name_size].rstrip(b"\0")
        if name or size:
            yield Note(name, kind, area[start : start + size])
