"""The kernel's own type information (BTF), as far as finding a struct's members goes.

Source: the kernel's Documentation/bpf/btf.rst. Types are found by searching for their
name and checking the record, which is far quicker than reading a hundred thousand
records in a row.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder

_MAGIC = 0xEB9F
_HEADER = "HBBIIIII"  # magic, version, flags, header length, then offset and length twice
_KIND_STRUCT = 4


@dataclass(frozen=True, slots=True)
class Btf:
    """The type and string sections of one BTF blob."""

    types: bytes
    strings: bytes
    prefix: str

    @classmethod
    def parse(cls, blob: bytes, byte_order: ByteOrder) -> Btf:
        """Split a blob into its sections; raise `ValueError` when it is no BTF."""
        prefix = "<" if byte_order == "little" else ">"
        size = struct.calcsize(prefix + _HEADER)
        if len(blob) < size:
            raise ValueError("BTF is cut short")
        magic, _, _, header, type_at, type_size, string_at, string_size = struct.unpack(
            prefix + _HEADER, blob[:size]
        )
        if magic != _MAGIC:
            raise ValueError(f"BTF magic is {magic:#x}")
        types = blob[header + type_at : header + type_at + type_size]
        return cls(types, blob[header + string_at : header + string_at + string_size], prefix)

    def member_offsets(self, type_name: str) -> dict[str, int]:
        """Return the byte offsets of the named members of a struct; empty if there is none.

        Bit fields are left out, members of anonymous structs inside it too.
        """
        name_at = self._string_offset(type_name)
        at = -1
        while name_at >= 0:
            at = self.types.find(struct.pack(self.prefix + "I", name_at), at + 1)
            if at < 0:
                break
            if at % 4 == 0 and (members := self._members_at(at)):
                return members
        return {}

    def _members_at(self, at: int) -> dict[str, int]:
        if at + 12 > len(self.types):
            return {}
        info, size = struct.unpack_from(self.prefix + "II", self.types, at + 4)
        count = info & 0xFFFF
        if info >> 24 & 0x1F != _KIND_STRUCT or at + 12 + 12 * count > len(self.types):
            return {}
        bit_fields = bool(info >> 31)
        members: dict[str, int] = {}
        for i in range(count):
            name, _, offset = struct.unpack_from(self.prefix + "III", self.types, at + 12 + 12 * i)
            if bit_fields:
                if offset >> 24:
                    continue
                offset &= 0xFFFFFF
            if offset // 8 >= size:
                return {}  # not a struct after all
            if text := self._string(name):
                members[text] = offset // 8
        return members

    def _string_offset(self, text: str) -> int:
        at = self.strings.find(b"\0" + text.encode() + b"\0")
        return at + 1 if at >= 0 else -1

    def _string(self, at: int) -> str:
        if at >= len(self.strings):
            return ""
        return self.strings[at : self.strings.find(b"\0", at)].decode("ascii", "replace")
