"""Which types of BTF debuggers can be told of.

Debuggers go from a type to those that it is made of without looking for an end, and read a
member's bytes out of the struct's. So types that are made of themselves, or of very many others
in a row, count as damaged, and structs with members that are not within them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from kdump_gdbserver.domain.symbols.btf import Btf, Kind

# What other types can be made of.
TYPES = frozenset(Kind) - {Kind.VOID, Kind.FUNC, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG}
_QUALIFIERS = frozenset({Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
# Those with the bytes of another one.
_INSTEAD = _QUALIFIERS | {Kind.TYPEDEF}
# Those of whose name another's is a part.
_NAMED_BY_ONE = _QUALIFIERS | {Kind.PTR}
_SIZES: dict[int, tuple[int, ...]] = {
    Kind.FLOAT: (2, 4, 8, 10, 12, 16),
    Kind.ENUM: (1, 2, 4, 8),
    Kind.ENUM64: (1, 2, 4, 8),
}
# The most bytes that a type can have.
_MAX_SIZE = 1 << 31
# The most elements without bytes.
_MOST_EMPTY = 1 << 16
# How many types in a row a type may be made of.
_MAX_DEPTH = 100


class TypeDepths:
    """How deep types go and how large they are, and so which of them are damaged."""

    BUSY, DAMAGED = 254, 255

    def __init__(self, btf: Btf, kinds: bytes, name_of: Callable[[int], int], pointer: int) -> None:
        self._words, self._starts = btf.words, btf.starts
        self._kinds = kinds
        self._name_of = name_of
        self._pointer = pointer
        count = len(kinds)
        # By value: what a type's bytes are; by name: what a debugger writes for its name.
        self.by_value, self._by_name = bytearray(count), bytearray(count)
        self.sizes = array("Q", bytes(8 * count))
        # Integers of fewer bits than their bytes have, and what stands for such: first bit, bits.
        self.bit_fields: dict[int, tuple[int, int]] = {}
        self.by_value[0] = self._by_name[0] = 1

    def damaged(self, number: int) -> bool:
        """Whether nothing should refer to the type."""
        if self._kinds[number] not in TYPES:
            return True
        by_value = self.by_value[number] or self.value(number)
        return (
            by_value == self.DAMAGED
            or (self._by_name[number] or self._name(number)) == self.DAMAGED
        )

    def value(self, number: int) -> int:
        """Return of how many types in a row, one within the other, the type's bytes are."""
        if number >= len(self._kinds):
            return self.DAMAGED
        depths = self.by_value
        if depths[number]:
            # That it is being looked at means that it is within itself.
            return self.DAMAGED if depths[number] == self.BUSY else depths[number]
        depths[number] = self.BUSY
        depth, size = self._by_kind(number, self._kinds[number], self._starts[number - 1])
        if size > _MAX_SIZE:
            depth, size = self.DAMAGED, 0
        depths[number], self.sizes[number] = depth, size
        return depth

    def _by_kind(self, number: int, kind: int, at: int) -> tuple[int, int]:
        """Return a type's depth and its size."""
        info, value = self._words[at + 1], self._words[at + 2]
        if kind in (Kind.STRUCT, Kind.UNION):
            return self._of_members(at, info, value), value
        if kind in _INSTEAD:
            return self._of_other(number, kind, at)
        if kind == Kind.ARRAY:
            return self._of_array(at)
        if kind == Kind.INT:
            return self._of_integer(number, at, value), value
        if kind == Kind.PTR:
            return 1, self._pointer
        if kind in (Kind.FUNC_PROTO, Kind.FWD):
            return 1, 0
        sizes = _SIZES.get(kind, ())
        is_declared = kind in (Kind.ENUM, Kind.ENUM64) and not info & 0xFFFFFF
        return (1 if is_declared or value in sizes else self.DAMAGED), value

    def _of_other(self, number: int, kind: int, at: int) -> tuple[int, int]:
        """Return what holds for a type that stands for another one."""
        other = self._words[at + 2]
        depth = self._next(other)
        if depth == self.DAMAGED or (kind == Kind.TYPEDEF and not self._name_of(self._words[at])):
            return self.DAMAGED, 0
        if other in self.bit_fields:
            self.bit_fields[number] = self.bit_fields[other]
        return depth, self.sizes[other]

    def _of_array(self, at: int) -> tuple[int, int]:
        element, _, count = self._words[at + 3 : at + 6]
        depth = self._next(element)
        size = self.sizes[element] if depth != self.DAMAGED else 0
        if not element or (not size and count > _MOST_EMPTY):
            return self.DAMAGED, 0
        return depth, size * count

    def _next(self, number: int) -> int:
        depth = self.value(number) + 1
        return depth if depth <= _MAX_DEPTH else self.DAMAGED

    def _of_integer(self, number: int, at: int, size: int) -> int:
        word = self._words[at + 3]
        first, bits = word >> 16 & 0xFF, word & 0xFF
        if size not in (1, 2, 4, 8, 16) or not 0 < first + bits <= 8 * size or not bits:
            return self.DAMAGED
        if bits != 8 * size:
            self.bit_fields[number] = first, bits
        return 1

    def _of_members(self, at: int, info: int, size: int) -> int:
        deepest, end, words = 0, 8 * size, self._words
        depths, sizes, has_bits = self.by_value, self.sizes, info >> 31
        for place in range(at + 3, at + 3 + 3 * (info & 0xFFFFFF), 3):
            number, offset = words[place + 1], words[place + 2]
            depth = depths[number] if number < len(depths) else self.DAMAGED
            if not depth:
                depth = self.value(number)
            if depth >= _MAX_DEPTH or not number:
                return self.DAMAGED
            deepest = max(deepest, depth)
            of_type = 8 * sizes[number]
            if has_bits:
                bits, offset = offset >> 24, offset & 0xFFFFFF
            else:
                first, bits = self.bit_fields.get(number, (0, 0)) if self.bit_fields else (0, 0)
                offset += first
            if offset + (bits or of_type) > end or (offset % 8 and not bits) or bits > of_type:
                return self.DAMAGED
        return deepest + 1

    def _name(self, number: int) -> int:
        """Return of how many types in a row, one in the other, the type's name is made."""
        if number >= len(self._kinds):
            return self.DAMAGED
        depths = self._by_name
        if depths[number]:
            return self.DAMAGED if depths[number] == self.BUSY else depths[number]
        depths[number] = self.BUSY
        kind, at = self._kinds[number], self._starts[number - 1]
        words = self._words
        parts: Sequence[int] = ()
        if kind in _NAMED_BY_ONE:
            parts = (words[at + 2],)
        elif kind == Kind.ARRAY:
            parts = (words[at + 3],)
        elif kind == Kind.FUNC_PROTO:
            count = words[at + 1] & 0xFFFFFF
            parts = [words[at + 2], *words[at + 4 : at + 3 + 2 * count : 2].tolist()]
        elif kind in (Kind.STRUCT, Kind.UNION) and not self._name_of(words[at]):
            parts = words[at + 4 : at + 3 + 3 * (words[at + 1] & 0xFFFFFF) : 3].tolist()
        deepest = 0
        for part in parts:
            depth = depths[part] if part < len(depths) else self.DAMAGED
            depth = depth or self._name(part)
            if depth >= _MAX_DEPTH:
                deepest = self.DAMAGED
                break
            deepest = max(deepest, depth)
        depths[number] = min(deepest + 1, self.DAMAGED)
        return depths[number]
