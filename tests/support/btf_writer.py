"""Writes a small BTF blob (Documentation/bpf/btf.rst of Linux)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from kdump_gdbserver.domain.address_space import ByteOrder

_MAGIC, _INT, _STRUCT, _FORWARD = 0xEB9F, 1, 4, 7


def write_btf(
    structs: Mapping[str, Mapping[str, int]],
    byte_order: ByteOrder = "little",
    bit_fields: Mapping[str, Mapping[str, tuple[int, int]]] | None = None,
) -> bytes:
    """Write structs of named members at byte offsets.

    `bit_fields` adds members at (bit offset, width) to a struct. Each struct is preceded
    by a forward declaration of its name, which a reader has to pass over.
    """
    prefix = "<" if byte_order == "little" else ">"
    strings = bytearray(b"\0")

    def text(name: str) -> int:
        at = len(strings)
        strings.extend(name.encode() + b"\0")
        return at

    types = struct.pack(prefix + "4I", text("int"), _INT << 24, 4, 32)
    for name, members in structs.items():
        fields = (bit_fields or {}).get(name, {})
        name_at = text(name)
        types += struct.pack(prefix + "3I", name_at, _FORWARD << 24, 0)
        info = _STRUCT << 24 | len(members) + len(fields) | (1 << 31 if fields else 0)
        size = max([8, *(offset + 8 for offset in members.values())])
        types += struct.pack(prefix + "3I", name_at, info, size)
        for member, offset in members.items():
            types += struct.pack(prefix + "3I", text(member), 1, offset * 8)
        for member, (bit, width) in fields.items():
            types += struct.pack(prefix + "3I", text(member), 1, width << 24 | bit)
    header = struct.pack(prefix + "HBBI", _MAGIC, 1, 0, 24)
    header += struct.pack(prefix + "4I", 0, len(types), len(types), len(strings))
    return header + types + bytes(strings)
