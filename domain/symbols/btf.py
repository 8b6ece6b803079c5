"""The kernel's own type information (BTF).

Source: the kernel's Documentation/bpf/btf.rst, include/uapi/linux/btf.h. Records have no index: the
place of type N is known only after all records before it. A type is looked for by its name in the
raw bytes, and the records are passed up to where it was found.
"""

from __future__ import annotations

import enum
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kdump_gdbserver.domain.address_space import ByteOrder

MAGIC = 0xEB9F
VERSION = 1
_HEADER = "HBBIIIII"  # magic, version, flags, header length, then offset and length twice
HEADER_SIZE = 24
# No type is that large; the bound is for damaged ones.
_MAX_SIZE = 1 << 40
# The longest chain of typedefs, qualifiers and arrays.
_MAX_DEPTH = 64
_MAX_NAME = 1024


class Kind(enum.IntEnum):
    """Kinds of types, by their numbers in BTF; VOID stands for type number 0."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


_KINDS = tuple(Kind)
# The length of a record in words: so many for its kind, and so many for each of its parts. Unknown
# kinds have a length that no record can have.
_EXTRA = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
_PART = {
    Kind.STRUCT: 3, Kind.UNION: 3, Kind.ENUM: 2, Kind.FUNC_PROTO: 2, Kind.DATASEC: 3,
    Kind.ENUM64: 3,
}  # fmt: skip
_FIXED_WORDS = [3 + _EXTRA.get(kind, 0) for kind in _KINDS] + [1 << 30] * (128 - len(_KINDS))
_FIXED_WORDS[Kind.VOID] = 1 << 30
_PART_WORDS = [_PART.get(kind, 0) for kind in _KINDS] + [0] * (128 - len(_KINDS))
SIZED = frozenset(
    {Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.FLOAT, Kind.DATASEC, Kind.ENUM64}
)
# Kinds that refer to another type and have its size.
TRANSPARENT = frozenset(
    {Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG, Kind.VAR}
)


# Searching takes some 4 ms a name; an index takes 60 ms to make.
_FEW = 8
_INDEXED = frozenset(
    {Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.FWD, Kind.TYPEDEF, Kind.FLOAT, Kind.ENUM64}
)


class BtfType(NamedTuple):
    """What types of every kind have.

    `parts` is how many members, enumerators, parameters or variables there are. `value` is
    the size in bytes of a type that has one (`SIZED`), else the number of the type it refers
    to (0: void). `flag` has a meaning of its own for each kind.
    """

    kind: Kind
    name: str
    parts: int
    flag: bool
    value: int


class BtfMember(NamedTuple):
    """A member of a struct or union; `bits` is the width of a bit field, else 0."""

    name: str
    type: int
    bit_offset: int
    bits: int


class Btf:
    """The types of a kernel, or with `base` those that a module adds to its kernel's.

    Types are known by their numbers, from 1; a module's go on where those of `base` end.
    Damaged records raise `ValueError`, and nothing else, from whatever method meets them.
    """

    def __init__(
        self, types: bytes, strings: bytes, byte_order: ByteOrder, base: Btf | None = None
    ) -> None:
        """Take the two sections; raise `ValueError` when they cannot be such."""
        if len(types) % 4 or strings[-1:] != b"\0" or (base is None and strings[0]):
            raise ValueError("BTF is cut short")
        self._prefix = "<" if byte_order == "little" else ">"
        self.types = types
        self.strings = strings
        self.base = base
        self._first: int = 1 if base is None else len(base) + 1
        # A module's strings go on where its kernel's end.
        self._first_string: int = 0 if base is None else base._first_string + len(base.strings)
        if byte_order == sys.byteorder:
            self._words = memoryview(types).cast("I")
        else:
            swapped = array("I", types)
            swapped.byteswap()
            self._words = memoryview(swapped)
        self._starts = self._pass_all()
        # For those that go through all records: the words, and where each begins in them.
        self.words, self.starts = self._words, self._starts
        self._members: dict[int, tuple[BtfMember, ...]] = {}
        self._searches = 0
        self._index: dict[str, list[int]] | None = None

    def _pass_all(self) -> array[int]:
        """Return where each type's record begins, in words."""
        starts = array("I")
        words, end, at = self._words, len(self._words), 0
        while at + 2 < end:
            starts.append(at)
            info = words[at + 1]
            kind = info >> 24 & 0x7F
            at += _FIXED_WORDS[kind] + _PART_WORDS[kind] * (info & 0xFFFFFF)
        if at != end:
            raise ValueError(f"BTF: type {self._first + len(starts) - 1} is damaged")
        return starts

    @classmethod
    def parse(cls, blob: bytes, byte_order: ByteOrder, base: Btf | None = None) -> Btf:
        """Split a blob into its sections; raise `ValueError` when it is no BTF."""
        return cls.read(lambda at, size: blob[at : at + size], len(blob), byte_order, base)

    @classmethod
    def read(
        cls,
        part: Callable[[int, int], bytes],
        size: int,
        byte_order: ByteOrder,
        base: Btf | None = None,
    ) -> Btf:
        """Read BTF of `size` bytes, section by section: it takes megabytes.

        `part(at, length)` returns bytes of it. Raises `ValueError` when it is no BTF.
        """
        prefix = "<" if byte_order == "little" else ">"
        if size < HEADER_SIZE:
            raise ValueError("BTF is cut short")
        magic, version, _, header, type_at, type_size, string_at, string_size = struct.unpack(
            prefix + _HEADER, part(0, HEADER_SIZE)
        )
        if magic != MAGIC:
            raise ValueError(f"BTF magic is {magic:#x}")
        if version != VERSION:
            raise ValueError(f"BTF version is {version}")
        ends = header + type_at + type_size, header + string_at + string_size
        if header < HEADER_SIZE or max(ends) > size:
            raise ValueError("BTF is cut short")
        types = part(header + type_at, type_size)
        return cls(types, part(header + string_at, string_size), byte_order, base)

    def __len__(self) -> int:
        """Return the number of the last type."""
        return self._first - 1 + len(self._starts)

    def __getitem__(self, number: int) -> BtfType:
        """Return a type; raise `ValueError` when there is none of that number."""
        if number < self._first and self.base is not None:
            return self.base[number]
        if number == 0:
            return BtfType(Kind.VOID, "", 0, False, 0)
        at = self._start(number)
        name, info, value = self._words[at : at + 3]
        return BtfType(
            _KINDS[info >> 24 & 0x7F], self.string(name), info & 0xFFFFFF, bool(info >> 31), value
        )

    def _start(self, number: int) -> int:
        if not self._first <= number <= len(self):
            raise ValueError(f"BTF has no type {number}")
        return self._starts[number - self._first]

    def numbers(self) -> range:
        """Return the numbers of all types, without those of `base`."""
        return range(self._first, len(self) + 1)

    def string(self, at: int) -> str:
        """Return the string at an offset; an empty one where there is none."""
        if at < self._first_string and self.base is not None:
            return self.base.string(at)
        at -= self._first_string
        end = self.strings.find(b"\0", at, at + _MAX_NAME)
        return self.strings[at:end].decode("ascii", "replace") if end >= 0 else ""

    def find(self, name: str, *kinds: Kind) -> list[int]:
        """Return the numbers of the types of that name and of one of the kinds.

        There may be several: sources may define different structs of one name.
        """
        found = [] if self.base is None else self.base.find(name, *kinds)
        if not name or "\0" in name:
            return found
        self._searches += 1
        if self._searches > _FEW and _INDEXED.issuperset(kinds):
            if self._index is None:
                self._index = self._make_index()
            return found + [n for n in self._index.get(name, ()) if self[n].kind in kinds]
        for offset in self._string_offsets(name.encode()):
            word = struct.pack(self._prefix + "I", offset)
            at = self.types.find(word)
            while at >= 0:
                if at % 4 == 0 and at + 12 <= len(self.types):
                    info = self._words[at // 4 + 1]
                    number = self._number_at(at // 4) if info >> 24 & 0x7F in kinds else None
                    if number is not None:
                        found.append(number)
                at = self.types.find(word, at + 1)
        return found

    def _make_index(self) -> dict[str, list[int]]:
        """Return the numbers of the types of each name, of the kinds in `_INDEXED`."""
        words, by_name = self._words, dict[int, list[int]]()
        for number, at in enumerate(self._starts, self._first):
            if words[at] and words[at + 1] >> 24 & 0x7F in _INDEXED:
                by_name.setdefault(words[at], []).append(number)
        index: dict[str, list[int]] = {}
        for offset, numbers in by_name.items():
            index.setdefault(self.string(offset), []).extend(numbers)
        return index

    def _string_offsets(self, text: bytes) -> Iterator[int]:
        if self.base is not None:
            yield from self.base._string_offsets(text)
        at = self.strings.find(text + b"\0")
        while at >= 0:
            # A module's strings have no NUL before the first.
            if at == 0 or self.strings[at - 1] == 0:
                yield self._first_string + at
            at = self.strings.find(text + b"\0", at + 1)

    def _number_at(self, word: int) -> int | None:
        """Return the number of the type whose record begins there, None if none does."""
        index = bisect_left(self._starts, word)
        if index < len(self._starts) and self._starts[index] == word:
            return self._first + index
        return None

    def _parts(self, number: int, *kinds: Kind) -> Iterator[tuple[int, ...]]:
        """Iterate over the parts of a type of one of the kinds, as words."""
        if number < self._first and self.base is not None:
            yield from self.base._parts(number, *kinds)
            return
        kind, _, count, _, _ = self[number]
        if kind not in kinds:
            raise ValueError(f"BTF: type {number} is {kind.name}, not {kinds[0].name}")
        start, size = self._start(number) + _FIXED_WORDS[kind], _PART_WORDS[kind]
        for at in range(start, start + size * count, size):
            yield tuple(self._words[at : at + size])

    def _extra(self, number: int, kind: Kind) -> tuple[int, ...]:
        """Return the words that follow the record of a type of that kind."""
        if number < self._first and self.base is not None:
            return self.base._extra(number, kind)
        if self[number].kind != kind:
            raise ValueError(f"BTF: type {number} is not {kind.name}")
        start = self._start(number)
        return tuple(self._words[start + 3 : start + _FIXED_WORDS[kind]])

    def members(self, number: int) -> tuple[BtfMember, ...]:
        """Return the members of a struct or union."""
        if number not in self._members:
            flag = self[number].flag
            self._members[number] = tuple(
                # With the flag, the upper 8 bits are a bit field's width.
                BtfMember(self.string(name), type_, offset & 0xFFFFFF, offset >> 24)
                if flag
                else BtfMember(self.string(name), type_, offset, 0)
                for name, type_, offset in self._parts(number, Kind.STRUCT, Kind.UNION)
            )
        return self._members[number]

    def enumerators(self, number: int) -> list[tuple[str, int]]:
        """Return the names and values of an enum; the flag of the type says: signed."""
        kind, _, _, signed, _ = self[number]
        bits = 64 if kind is Kind.ENUM64 else 32
        sign = 1 << bits - 1 if signed else 0
        found = []
        for name, low, *high in self._parts(number, Kind.ENUM, Kind.ENUM64):
            value = low | high[0] << 32 if high else low
            found.append((self.string(name), (value ^ sign) - sign))
        return found

    def parameters(self, number: int) -> list[tuple[str, int]]:
        """Return names and types of a function type's parameters; "" and 0 at the end: ..."""
        return [(self.string(n), t) for n, t in self._parts(number, Kind.FUNC_PROTO)]

    def variables(self, number: int) -> list[tuple[int, int, int]]:
        """Return the variables of a section: the number of each VAR, its offset and size."""
        return [(v, at, size) for v, at, size in self._parts(number, Kind.DATASEC)]

    def array(self, number: int) -> tuple[int, int, int]:
        """Return an array's type of element, its type of index and its number of elements."""
        element, index, count = self._extra(number, Kind.ARRAY)
        return element, index, count

    def integer(self, number: int) -> tuple[int, int, int]:
        """Return an integer's encoding (1: signed, 2: char, 4: bool), bit offset and width."""
        (word,) = self._extra(number, Kind.INT)
        return word >> 24 & 0xF, word >> 16 & 0xFF, word & 0xFF

    def linkage(self, number: int) -> int:
        """Return the linkage of a variable: 0 static, 1 global, 2 external."""
        return self._extra(number, Kind.VAR)[0]

    def component(self, number: int) -> int:
        """Return which member or parameter a DECL_TAG belongs to; -1: to the whole type."""
        (word,) = self._extra(number, Kind.DECL_TAG)
        return (word ^ 1 << 31) - (1 << 31)

    def resolve(self, number: int) -> int:
        """Return the number of the type that typedefs and qualifiers lead to."""
        for _ in range(_MAX_DEPTH):
            found = self[number]
            if found.kind not in TRANSPARENT:
                return number
            number = found.value
        raise ValueError(f"BTF: type {number} refers to itself")

    def size(self, number: int, pointer_size: int = 8) -> int | None:
        """Return the size of a type in bytes, None if it has none (void, functions)."""
        elements = 1
        for _ in range(_MAX_DEPTH):
            number = self.resolve(number)
            found = self[number]
            if found.kind is not Kind.ARRAY:
                break
            number, _, count = self.array(number)
            elements *= count
        if found.kind is Kind.PTR:
            size = elements * pointer_size
        elif found.kind in SIZED:
            size = elements * found.value
        else:
            return None
        if size > _MAX_SIZE:
            raise ValueError(f"BTF: type {number} is too large")
        return size
