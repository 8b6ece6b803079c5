"""Writes BTF (Documentation/bpf/btf.rst of Linux)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from kdump_gdbserver.domain.address_space import ByteOrder

MAGIC = 0xEB9F


class BtfWriter:
    """Takes types one by one, each of which gets the next number from 1 on.

    With `base` it writes the BTF of a module of that kernel: numbers and strings go on.
    """

    def __init__(self, byte_order: ByteOrder = "little", base: BtfWriter | None = None) -> None:
        self.prefix = "<" if byte_order == "little" else ">"
        self.byte_order: ByteOrder = byte_order
        self.count: int = base.count if base else 0
        self._base = base
        self._first_string: int = base._first_string + len(base._strings) if base else 0
        self._strings: bytearray = bytearray(b"" if base else b"\0")
        self._known: dict[str, int] = {}
        self._types = b""

    def text(self, name: str) -> int:
        """Return the offset of a string; equal ones are written once."""
        if not name:
            return 0
        if self._base and name in self._base._known:
            return self._base._known[name]
        if name not in self._known:
            self._known[name] = self._first_string + len(self._strings)
            self._strings.extend(name.encode() + b"\0")
        return self._known[name]

    def add(
        self,
        kind: int,
        name: str = "",
        value: int = 0,
        words: Sequence[int] = (),
        *,
        parts: int = 0,
        flag: bool = False,
    ) -> int:
        """Write a record: the three words that all have, and those that follow."""
        info = kind << 24 | parts | flag << 31
        all_words = [self.text(name), info, value, *words]
        self._types += struct.pack(
            f"{self.prefix}{len(all_words)}I", *(word & 0xFFFFFFFF for word in all_words)
        )
        self.count += 1
        return self.count

    def integer(
        self, name: str, size: int, *, encoding: int = 0, offset: int = 0, bits: int | None = None
    ) -> int:
        width = 8 * size if bits is None else bits
        return self.add(1, name, size, [encoding << 24 | offset << 16 | width])

    def pointer(self, to: int) -> int:
        return self.add(2, "", to)

    def array(self, element: int, index: int, count: int) -> int:
        return self.add(3, "", 0, [element, index, count])

    def struct(
        self,
        name: str,
        size: int,
        members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]],
        *,
        union: bool = False,
    ) -> int:
        """Write a struct; members are name, type, bit offset and perhaps a bit field's width."""
        flag = any(len(member) == 4 for member in members)
        words: list[int] = []
        for member_name, type_, offset, *bits in members:
            words += [self.text(member_name), type_, offset | (bits[0] << 24 if bits else 0)]
        return self.add(5 if union else 4, name, size, words, parts=len(members), flag=flag)

    def enum(
        self, name: str, values: Mapping[str, int], *, size: int = 4, signed: bool = False
    ) -> int:
        words: list[int] = []
        for each, value in values.items():
            words += [self.text(each), value]
            if size == 8:
                words.append(value >> 32)
        return self.add(19 if size == 8 else 6, name, size, words, parts=len(values), flag=signed)

    def section(self, name: str, variables: Sequence[tuple[int, int, int]]) -> int:
        words = [word for variable in variables for word in variable]
        return self.add(15, name, 0, words, parts=len(variables))

    def prototype(self, returns: int, parameters: Sequence[tuple[str, int]]) -> int:
        words = [word for name, type_ in parameters for word in (self.text(name), type_)]
        return self.add(13, "", returns, words, parts=len(parameters))

    def blob(self) -> bytes:
        header = struct.pack(self.prefix + "HBBI", MAGIC, 1, 0, 24)
        sizes = (0, len(self._types), len(self._types), len(self._strings))
        return header + struct.pack(self.prefix + "4I", *sizes) + self._types + bytes(self._strings)


def write_btf(
    structs: Mapping[str, Mapping[str, int]],
    byte_order: ByteOrder = "little",
    bit_fields: Mapping[str, Mapping[str, tuple[int, int]]] | None = None,
) -> bytes:
    """Write structs of named members at byte offsets.

    `bit_fields` adds members at (bit offset, width) to a struct. Each struct is preceded
    by a forward declaration of its name, which a reader has to pass over.
    """
    writer = BtfWriter(byte_order)
    number = writer.integer("int", 4, encoding=1)
    for name, members in structs.items():
        writer.add(7, name)
        whole = [(member, number, 8 * offset) for member, offset in members.items()]
        fields = [
            (member, number, bit, width)
            for member, (bit, width) in (bit_fields or {}).get(name, {}).items()
        ]
        size = max([8, *(offset + 8 for offset in members.values())])
        writer.struct(name, size, [*whole, *fields])
    return writer.blob()
