"""Writes ELF notes (elf(5), "Notes (Nhdr)")."""

from __future__ import annotations

import struct

from kdump_gdbserver.domain.address_space import ByteOrder


def note(name: bytes, kind: int, descriptor: bytes, byte_order: ByteOrder = "little") -> bytes:
    """Return one note; `name` is without the NUL that ends it."""
    ended = name + b"\0"
    sizes = struct.pack(
        "<III" if byte_order == "little" else ">III", len(ended), len(descriptor), kind
    )
    return sizes + b"".join(part + bytes(-len(part) % 4) for part in (ended, descriptor))
