"""What notes in the dump say: the build-id, and VMCOREINFO."""

import struct
from typing import Any, Dict, Optional


def find_build_id(notes: bytes, byte_order: Any) -> Optional[str]:
    """Return the build-id in a notes section as hex, or None. Format: elf(5), "Notes (Nhdr)"."""
    mark = "<" if byte_order == "little" else ">"
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(mark + "III", notes, at)
        name_at = at + 12
        at = name_at + (name_size + 3 & ~3)
        if kind == 3 and notes[name_at : name_at + name_size] == b"GNU\0":
            return "".join("%02x" % byte for byte in notes[at : at + size])
        at += size + 3 & ~3
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
