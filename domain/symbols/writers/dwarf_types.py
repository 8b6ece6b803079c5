"""All of a kernel's BTF as DWARF, version 4: types, functions and variables.

Source: the DWARF standard, version 4; the kernel's Documentation/bpf/btf.rst. One unit has
everything, its types in the order of BTF. BTF's own strings are the section of strings: no
name is copied. Every entry has a length that is known before it is written, so references
need no second look.

What is damaged (`type_depths`) is left out, and what refers to it refers to an unspecified
type instead.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.btf import Btf, Kind
from kdump_gdbserver.domain.symbols.dwarf_cfi import uleb
from kdump_gdbserver.domain.symbols.writers.type_depths import TYPES, TypeDepths

MAX_NAME = 1024
_NOT_PRINTABLE = re.compile(rb"[^\0]*[^\0 -~][^\0]*")
_TOO_LONG = re.compile(rb"[^\0]{%d,}" % (MAX_NAME + 1))
_PRODUCER = "kdump-gdbserver"
_UNIT_NAME = "kernel"
_DAMAGED = "unknown type"
# Debuggers take a caller on a stack that lies lower for a corrupt stack, but not if a frame of an
# inlined function is between the two: so there is one where a function calls on another stack.
_SWITCH = "on_another_stack"

_QUALIFIERS = {Kind.VOLATILE: 0x35, Kind.CONST: 0x26, Kind.RESTRICT: 0x37}

# Tags, attributes and forms.
_DW_TAG = {
    "array": 0x01, "enumeration": 0x04, "parameter": 0x05, "member": 0x0D, "pointer": 0x0F,
    "unit": 0x11, "struct": 0x13, "subroutine": 0x15, "typedef": 0x16, "union": 0x17,
    "unspecified_parameters": 0x18, "subrange": 0x21, "base": 0x24, "enumerator": 0x28,
    "inlined": 0x1D, "subprogram": 0x2E, "variable": 0x34, "unspecified": 0x3B,
}  # fmt: skip
_NAME, _SIZE, _LANGUAGE, _LOW_PC, _HIGH_PC = 0x03, 0x0B, 0x13, 0x11, 0x12
_CONST_VALUE, _BIT_SIZE, _PRODUCED_BY, _PROTOTYPED, _COUNT = 0x1C, 0x0D, 0x25, 0x27, 0x37
_MEMBER_AT, _ENCODING, _TYPE, _DECLARED, _BITS_AT = 0x38, 0x3E, 0x49, 0x3C, 0x6B
_CALL_FILE, _CALL_LINE = 0x58, 0x59
_LOCATION, _EXTERNAL, _INLINE, _ORIGIN = 0x02, 0x3F, 0x20, 0x31
_DATA1, _DATA2, _DATA4, _DATA8, _SDATA, _STRP = 0x0B, 0x05, 0x06, 0x07, 0x0D, 0x0E
_ADDR, _REF4, _EXPRLOC, _PRESENT, _SEC_OFFSET = 0x01, 0x13, 0x18, 0x19, 0x17
_LINES = 0x10
_LANG_C99 = 0x0C
_OP_ADDR = 0x03
_INL_INLINED = 1

_ATE_BOOLEAN, _ATE_FLOAT, _ATE_SIGNED, _ATE_SIGNED_CHAR = 0x02, 0x04, 0x05, 0x06
_ATE_UNSIGNED, _ATE_UNSIGNED_CHAR = 0x07, 0x08


class _Abbreviations:
    """Numbers the forms of entries as they are first used."""

    def __init__(self) -> None:
        self.table = bytearray()
        self._count = 0

    def add(self, tag: str | int, *attributes: tuple[int, int], children: bool = False) -> int:
        self._count += 1
        number = tag if isinstance(tag, int) else _DW_TAG[tag]
        self.table += uleb(self._count) + uleb(number) + bytes([children])
        for attribute, form in attributes:
            self.table += uleb(attribute) + uleb(form)
        self.table += b"\0\0"
        return self._count


@dataclass(frozen=True, slots=True)
class FunctionCode:
    """A function of a name that only it has: its code's address and size."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable; `type` is the number of its type in BTF."""

    name: str
    address: int
    type: int
    pointer: bool = False  # a pointer to that type
    count: int | None = None  # an array of so many


@dataclass(slots=True)
class Dwarf:
    """The sections; `addresses` are the places in `.debug_info` of the addresses that move."""

    info: bytes
    abbreviations: bytes
    strings: bytes
    lines: bytes
    addresses: array[int] = field(default_factory=lambda: array("I"))
    damaged: int = 0
    functions: int = 0


def clean_strings(strings: bytes) -> bytes:
    """Return strings in which those that cannot be names are empty, at the same places."""
    for pattern in (_NOT_PRINTABLE, _TOO_LONG):
        if pattern.search(strings):
            strings = pattern.sub(lambda found: bytes(len(found[0])), strings)
    return strings


class DwarfWriter:
    """Writes one unit; `order` and `pointer_size` are the kernel's."""

    def __init__(self, btf: Btf, order: ByteOrder, pointer_size: int = 8) -> None:
        self._btf = btf
        self._prefix = "<" if order == "little" else ">"
        self._order: ByteOrder = order
        self._words, self._starts = btf.words, btf.starts
        self._clean = clean_strings(btf.strings)
        self._strings = bytearray(self._clean)
        words = self._words
        self._kinds = bytes([0, *(words[at + 1] >> 24 & 0x7F for at in self._starts)])
        self._depths = TypeDepths(btf, self._kinds, self._name, pointer_size)
        # Whether an enum's flag tells that there are negative values.
        self._tells_signs = Kind.ENUM64 in self._kinds or any(
            words[at + 1] >> 31
            for at, kind in zip(self._starts, self._kinds[1:], strict=True)
            if kind == Kind.ENUM
        )
        self._abbreviations = _Abbreviations()
        self._parts: list[bytes] = []
        self._at = 0
        self._damaged = 0
        self._refs = array("I", bytes(4 * len(self._kinds)))
        self._make_abbreviations()

    def write(
        self,
        low: int,
        high: int,
        functions: Iterable[FunctionCode],
        variables: Iterable[Variable],
        switches: Iterable[tuple[int, int]] = (),
    ) -> Dwarf:
        """Return the sections; the kernel is at the addresses from `low` to `high`.

        Functions, in order of address, are written if BTF has one function of the name.
        `switches` is code, by start and end and in order, that calls on another stack.
        """
        unit = self._pack(
            "BIIHQQI",
            self._unit,
            *(
                self._add_string(_PRODUCER),
                self._add_string(_UNIT_NAME),
                _LANG_C99,
                low,
                high - low,
                0,
            ),
        )
        damaged = self._pack("BI", self._unspecified, self._add_string(_DAMAGED))
        addresses = array("I", [_HEADER_SIZE + 11])
        self._refs[0] = _HEADER_SIZE + len(unit)
        self._parts = [unit, damaged]
        self._at = self._refs[0] + len(damaged)
        self._place_types()
        self._write_types()
        count = self._write_functions(functions, deque(switches), addresses)
        self._write_variables(variables, addresses)
        self._parts.append(b"\0")
        body = b"".join(self._parts)
        header = struct.pack(self._prefix + "IHIB", _HEADER_SIZE - 4 + len(body), 4, 0, 8)
        return Dwarf(
            header + body,
            bytes(self._abbreviations.table) + b"\0",
            bytes(self._strings),
            _no_lines(self._prefix),
            addresses,
            self._damaged,
            count,
        )

    def _pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self._prefix + form, *values)

    def _packer(self, form: str) -> Callable[..., bytes]:
        return struct.Struct(self._prefix + form).pack

    def _add_string(self, text: str) -> int:
        at = len(self._strings)
        self._strings += text.encode("ascii") + b"\0"
        return at

    def _name(self, at: int) -> int:
        """Return where the name is in the strings; 0 where there is none."""
        return at if at < len(self._clean) and self._clean[at] else 0

    def _make_abbreviations(self) -> None:
        add = self._abbreviations.add
        name, type_, size4 = (_NAME, _STRP), (_TYPE, _REF4), (_SIZE, _DATA4)
        self._unit = add(
            "unit",
            *((_PRODUCED_BY, _STRP), name, (_LANGUAGE, _DATA2), (_LOW_PC, _ADDR)),
            *((_HIGH_PC, _DATA8), (_LINES, _SEC_OFFSET)),
            children=True,
        )
        self._unspecified = add("unspecified", name)
        self._base = add("base", name, (_SIZE, _DATA1), (_ENCODING, _DATA1))
        self._pointer, self._void_pointer = add("pointer", type_), add("pointer")
        self._typedef, self._void_typedef = add("typedef", name, type_), add("typedef", name)
        self._qualifier = {kind: add(tag, type_) for kind, tag in _QUALIFIERS.items()}
        self._void_qualifier = {kind: add(tag) for kind, tag in _QUALIFIERS.items()}
        self._array = add("array", type_, children=True)
        self._subrange, self._open_subrange = add("subrange", (_COUNT, _DATA4)), add("subrange")
        # By kind, whether it has a name, and whether it has parts.
        self._aggregate = {
            (kind, named, full): add(tag, *[name] * named, size4, children=full)
            for kind, tag in ((Kind.STRUCT, "struct"), (Kind.UNION, "union"))
            for named in (False, True)
            for full in (False, True)
        }
        self._declared = {
            kind: add(tag, name, (_DECLARED, _PRESENT))
            for kind, tag in (
                (Kind.STRUCT, "struct"), (Kind.UNION, "union"), (Kind.ENUM, "enumeration"),
            )
        }  # fmt: skip
        at = (_MEMBER_AT, _DATA4)
        self._member, self._nameless = add("member", name, type_, at), add("member", type_, at)
        bits = ((_BIT_SIZE, _DATA1), (_BITS_AT, _DATA4))
        self._bits, self._nameless_bits = (
            add("member", name, type_, *bits),
            add("member", type_, *bits),
        )
        self._enum = add("enumeration", name, (_SIZE, _DATA1), children=True)
        self._nameless_enum = add("enumeration", (_SIZE, _DATA1), children=True)
        # By kind, and whether there are negative values.
        self._enumerator = {
            (kind, signed): add("enumerator", name, (_CONST_VALUE, _SDATA if signed else form))
            for kind, form in ((Kind.ENUM, _DATA4), (Kind.ENUM64, _DATA8))
            for signed in (False, True)
        }
        proto = (_PROTOTYPED, _PRESENT)
        # By whether there is a result, and whether there are parameters.
        self._subroutine = {
            (result, full): add("subroutine", proto, *[type_] * result, children=full)
            for result in (False, True)
            for full in (False, True)
        }
        self._parameter = add("parameter", type_)
        self._named_parameter = add("parameter", name, type_)
        self._more = add("unspecified_parameters")
        place = (name, (_LOW_PC, _ADDR), (_HIGH_PC, _DATA4), (_EXTERNAL, _PRESENT), proto)
        self._subprogram = {
            (result, full): add("subprogram", *place, *[type_] * result, children=full)
            for result in (False, True)
            for full in (False, True)
        }
        self._variable = add("variable", name, type_, (_LOCATION, _EXPRLOC), (_EXTERNAL, _PRESENT))
        self._unknown_code = add("subprogram", *place[:-2], children=True)
        self._inline = add("subprogram", name, (_INLINE, _DATA1))
        # gdb passes over what was inlined at no place that is told.
        calls = ((_CALL_FILE, _DATA1), (_CALL_LINE, _DATA1))
        self._inlined = add(
            "inlined", (_ORIGIN, _REF4), (_LOW_PC, _ADDR), (_HIGH_PC, _DATA4), *calls
        )

    def _place_types(self) -> None:
        """Find out where each type's entry will be, or that it is damaged."""
        refs, kinds, at = self._refs, self._kinds, self._at
        depths, damaged = self._depths, self._refs[0]
        tags: list[int] = []
        for number, start in enumerate(self._starts, 1):
            kind = kinds[number]
            if kind not in TYPES:
                refs[number] = damaged
            elif depths.damaged(number):
                self._damaged += 1
                refs[number] = damaged
                if kind in (Kind.STRUCT, Kind.UNION) and self._name(self._words[start]):
                    refs[number] = at
                    at += 5
            elif kind == Kind.TYPE_TAG:
                tags.append(number)
            else:
                length = self._length(kind, start)
                refs[number] = at if length else damaged
                at += length
        self._at = at
        for number in tags:
            target = number
            while kinds[target] == Kind.TYPE_TAG:
                target = self._words[self._starts[target - 1] + 2]
            refs[number] = refs[target]

    def _length(self, kind: int, at: int) -> int:
        """Return how long the entry of a sound type is; 0 where there is none."""
        words = self._words
        name, info, value = words[at], words[at + 1], words[at + 2]
        count = info & 0xFFFFFF
        named = 4 if self._name(name) else 0
        if kind in (Kind.INT, Kind.FLOAT):
            return 7 if named else 0
        if kind == Kind.PTR or kind in _QUALIFIERS:
            return 5 if value else 1
        if kind == Kind.TYPEDEF:
            return 9 if value else 5
        if kind == Kind.ARRAY:
            return 11 if words[at + 5] else 7
        if kind == Kind.FWD:
            return 5 if named else 0
        if kind in (Kind.ENUM, Kind.ENUM64):
            if not count:
                return 5 if named else 0
            signed = info >> 31
            value_size = (5 if signed else 4) if kind == Kind.ENUM else (10 if signed else 8)
            return 3 + named + len(self._enumerators(kind, info, value, at + 3)) * (5 + value_size)
        if kind == Kind.FUNC_PROTO:
            length = 5 if value else 1
            if count:
                more = words[at + 2 + 2 * count] == 0 and words[at + 1 + 2 * count] == 0
                length += 5 * count + 1 - 4 * more
            return length
        length = 5 + named
        if count:
            last = at + 3 + 3 * count
            nameless = sum(not self._name(each) for each in words[at + 3 : last : 3].tolist())
            length += 13 * count - 4 * nameless + 1
            if info >> 31:
                length += sum(each > 0xFFFFFF for each in words[at + 5 : last : 3].tolist())
            elif self._depths.bit_fields:
                odd = self._depths.bit_fields
                length += sum(each in odd for each in words[at + 4 : last : 3].tolist())
        return length

    def _write_types(self) -> None:
        handlers: dict[int, Callable[[int, int, int, int, int], None]] = {
            Kind.INT: self._write_integer,
            Kind.FLOAT: self._write_float,
            Kind.PTR: self._write_pointer,
            Kind.ARRAY: self._write_array,
            Kind.STRUCT: self._write_aggregate,
            Kind.UNION: self._write_aggregate,
            Kind.ENUM: self._write_enum,
            Kind.ENUM64: self._write_enum,
            Kind.FWD: self._write_forward,
            Kind.TYPEDEF: self._write_typedef,
            Kind.FUNC_PROTO: self._write_subroutine,
            **dict.fromkeys(_QUALIFIERS, self._write_qualifier),
        }
        kinds, refs, words, damaged = self._kinds, self._refs, self._words, self._refs[0]
        for number, at in enumerate(self._starts, 1):
            handler = handlers.get(kinds[number])
            if handler is not None and refs[number] != damaged:
                handler(number, words[at], words[at + 1], words[at + 2], at + 3)

    def _write_integer(self, number: int, name: int, info: int, value: int, at: int) -> None:
        encoding = self._words[at] >> 24
        is_char = value == 1 and self._btf.string(name).endswith("char")
        if encoding & 4:
            code = _ATE_BOOLEAN
        elif is_char or encoding & 2:
            # Whether plain char has a sign is the same for all programs of an architecture.
            code = _ATE_UNSIGNED_CHAR if self._is_unsigned(name, encoding) else _ATE_SIGNED_CHAR
        else:
            code = _ATE_SIGNED if encoding & 1 else _ATE_UNSIGNED
        self._parts.append(self._pack("BIBB", self._base, name, value, code))

    def _is_unsigned(self, name: int, encoding: int) -> bool:
        return self._btf.string(name) == "unsigned char" or not encoding & 1

    def _write_float(self, number: int, name: int, info: int, value: int, at: int) -> None:
        self._parts.append(self._pack("BIBB", self._base, name, value, _ATE_FLOAT))

    def _write_pointer(self, number: int, name: int, info: int, value: int, at: int) -> None:
        self._parts.append(
            self._pack("BI", self._pointer, self._refs[value])
            if value
            else bytes((self._void_pointer,))
        )

    def _write_qualifier(self, number: int, name: int, info: int, value: int, at: int) -> None:
        kind = Kind(info >> 24 & 0x7F)
        self._parts.append(
            self._pack("BI", self._qualifier[kind], self._refs[value])
            if value
            else bytes((self._void_qualifier[kind],))
        )

    def _write_typedef(self, number: int, name: int, info: int, value: int, at: int) -> None:
        self._parts.append(
            self._pack("BII", self._typedef, name, self._refs[value])
            if value
            else self._pack("BI", self._void_typedef, name)
        )

    def _write_array(self, number: int, name: int, info: int, value: int, at: int) -> None:
        element, count = self._words[at], self._words[at + 2]
        self._parts.append(self._array_entry(self._refs[element], count))

    def _array_entry(self, element: int, count: int) -> bytes:
        if count:
            return self._pack("BIBIB", self._array, element, self._subrange, count, 0)
        return self._pack("BIBB", self._array, element, self._open_subrange, 0)

    def _write_forward(self, number: int, name: int, info: int, value: int, at: int) -> None:
        kind = Kind.UNION if info >> 31 else Kind.STRUCT
        self._parts.append(self._pack("BI", self._declared[kind], name))

    def _write_aggregate(self, number: int, name: int, info: int, value: int, at: int) -> None:
        kind, name = Kind(info >> 24 & 0x7F), self._name(name)
        if self._depths.damaged(number):
            self._parts.append(self._pack("BI", self._declared[kind], name))
            return
        count = info & 0xFFFFFF
        code = self._aggregate[kind, bool(name), bool(count)]
        self._parts.append(
            self._pack("BII", code, name, value) if name else self._pack("BI", code, value)
        )
        if not count:
            return
        words, refs, append, name_of = self._words, self._refs, self._parts.append, self._name
        named, nameless = self._packer("BIII"), self._packer("BII")
        has_bits, odd = info >> 31, self._depths.bit_fields
        for place in range(at, at + 3 * count, 3):
            name, type_, offset = name_of(words[place]), words[place + 1], words[place + 2]
            bits = 0
            if has_bits:
                bits, offset = offset >> 24, offset & 0xFFFFFF
            elif odd and type_ in odd:
                first, bits = odd[type_]
                offset += first
            ref = refs[type_]
            if not bits:
                append(
                    named(self._member, name, ref, offset // 8)
                    if name
                    else nameless(self._nameless, ref, offset // 8)
                )
            elif name:
                append(self._pack("BIIBI", self._bits, name, ref, bits, offset))
            else:
                append(self._pack("BIBI", self._nameless_bits, ref, bits, offset))
        append(b"\0")

    def _write_enum(self, number: int, name: int, info: int, value: int, at: int) -> None:
        kind, name, count = Kind(info >> 24 & 0x7F), self._name(name), info & 0xFFFFFF
        if not count:
            self._parts.append(self._pack("BI", self._declared[Kind.ENUM], name))
            return
        self._parts.append(
            self._pack("BIB", self._enum, name, value)
            if name
            else self._pack("BB", self._nameless_enum, value)
        )
        signed = bool(info >> 31)
        code = self._enumerator[kind, signed]
        append, bits = self._parts.append, 32 if kind == Kind.ENUM else 64
        plain = self._packer("BII" if kind == Kind.ENUM else "BIQ")
        for at_name, raw in self._enumerators(kind, info, value, at):
            if signed:
                signed_value = raw - ((raw >> bits - 1) << bits)
                append(self._pack("BI", code, at_name) + _padded_sleb(signed_value, bits))
            else:
                append(plain(code, at_name, raw))
        append(b"\0")

    def _enumerators(self, kind: int, info: int, size: int, at: int) -> list[tuple[int, int]]:
        """Return the names and the values, as they are in BTF, of what is known for sure."""
        words, size_of = self._words, 2 if kind == Kind.ENUM else 3
        last = at + size_of * (info & 0xFFFFFF)
        values = words[at + 1 : last : size_of].tolist()
        most = (1 << 64) - 1
        if kind == Kind.ENUM64:
            high = words[at + 2 : last : 3].tolist()
            values = [low | upper << 32 for low, upper in zip(values, high, strict=True)]
        elif not self._tells_signs:
            # pahole before 1.24 told no sign, and 32 bits of what had 64.
            most = 0x7FFFFFFF if size <= 4 else -1
        names = map(self._name, words[at:last:size_of].tolist())
        pairs = zip(names, values, strict=True)
        return [(name, number) for name, number in pairs if name and number <= most]

    def _write_subroutine(self, number: int, name: int, info: int, value: int, at: int) -> None:
        count = info & 0xFFFFFF
        code = self._subroutine[bool(value), bool(count)]
        self._parts.append(self._pack("BI", code, self._refs[value]) if value else bytes((code,)))
        if not count:
            return
        words, refs, append, parameter = (
            self._words,
            self._refs,
            self._parts.append,
            self._packer("BI"),
        )
        last = at + 2 * count - 2
        for place in range(at, last + 2, 2):
            type_ = words[place + 1]
            if place == last and not type_ and not words[place]:
                append(bytes((self._more,)))
            else:
                append(parameter(self._parameter, refs[type_]))
        append(b"\0")

    def _write_functions(
        self,
        functions: Iterable[FunctionCode],
        switches: deque[tuple[int, int]],
        addresses: array[int],
    ) -> int:
        """Write the functions that BTF has, one for each address, and those with switches."""
        btf, words, kinds = self._btf, self._words, self._kinds
        by_name: dict[str, int] = {}
        for number, start in enumerate(self._starts, 1):
            if kinds[number] == Kind.FUNC and self._name(words[start]):
                name = btf.string(words[start])
                by_name[name] = 0 if name in by_name else start
        before, written = -1, 0
        switch = _HEADER_SIZE + sum(map(len, self._parts))
        if switches:
            self._parts.append(
                self._pack("BIB", self._inline, self._add_string(_SWITCH), _INL_INLINED)
            )
        at = _HEADER_SIZE + sum(map(len, self._parts))
        head = self._packer("BIQI")
        for function in functions:
            if function.address < before:
                continue
            inside = _inside(function, switches)
            start = by_name.get(function.name, 0)
            proto = words[start + 2] if start else 0
            is_known = 0 < proto < len(kinds) and kinds[proto] == Kind.FUNC_PROTO
            if is_known and self._refs[proto] != self._refs[0]:
                place = self._starts[proto - 1]
                result, count = words[place + 2], words[place + 1] & 0xFFFFFF
                code = self._subprogram[bool(result), bool(count or inside)]
                data = head(code, words[start], function.address, function.size)
                if result:
                    data += self._pack("I", self._refs[result])
                if count:
                    data += self._parameters(place + 3, count)
            elif inside:
                unknown = self._add_string(function.name)
                data = head(self._unknown_code, unknown, function.address, function.size)
                count = 0
            else:
                continue
            before = function.address + function.size
            addresses.append(at + 5)
            for low, high in inside:
                addresses.append(at + len(data) + 5)
                data += self._pack("BIQIBB", self._inlined, switch, low, high - low, 1, 0)
            if count or inside:
                data += b"\0"
            self._parts.append(data)
            at += len(data)
            written += 1
        return written

    def _parameters(self, at: int, count: int) -> bytes:
        parts = []
        for place in range(at, at + 2 * count, 2):
            name, type_ = self._name(self._words[place]), self._words[place + 1]
            if name:
                parts.append(self._pack("BII", self._named_parameter, name, self._refs[type_]))
            elif type_ or place < at + 2 * count - 2:
                parts.append(self._pack("BI", self._parameter, self._refs[type_]))
            else:
                parts.append(bytes((self._more,)))
        return b"".join(parts)

    def _write_variables(self, variables: Iterable[Variable], addresses: array[int]) -> None:
        at = _HEADER_SIZE + sum(map(len, self._parts))
        for variable in variables:
            if not 0 <= variable.type < len(self._refs):
                continue
            ref = self._refs[variable.type]
            if ref == self._refs[0] and not (variable.pointer and not variable.type):
                continue
            data = b""
            if variable.pointer:
                ref, data = (
                    at,
                    (
                        self._pack("BI", self._pointer, ref)
                        if variable.type
                        else bytes((self._void_pointer,))
                    ),
                )
            if variable.count is not None:
                data, ref = data + self._array_entry(ref, variable.count), at + len(data)
            addresses.append(at + len(data) + 11)
            data += self._pack("BII", self._variable, self._add_string(variable.name), ref)
            data += self._pack("BBQ", 9, _OP_ADDR, variable.address)
            self._parts.append(data)
            at += len(data)


_HEADER_SIZE = 11  # length, version, offset of the abbreviations, size of an address


def _no_lines(prefix: str) -> bytes:
    """Return a table of lines with a file, for what must name one, and no line."""
    # Length of instructions, default of is_stmt, line base and range, first opcode of its own,
    # operands of the standard opcodes; no folder; one file; its folder, time and size.
    rest = struct.pack("BBBbBB", 1, 1, 1, 0, 1, 10) + bytes((0, 1, 1, 1, 1, 0, 0, 0, 1))
    rest += b"\0" + _UNIT_NAME.encode() + b"\0" + bytes(3) + b"\0"
    rest = struct.pack(prefix + "I", len(rest)) + rest
    return struct.pack(prefix + "IH", len(rest) + 2, 4) + rest


def _inside(function: FunctionCode, switches: deque[tuple[int, int]]) -> list[tuple[int, int]]:
    """Take off those pieces of code that lie in the function, or before it."""
    found = []
    while switches and switches[0][0] < function.address + function.size:
        start, end = switches.popleft()
        if start >= function.address and end <= function.address + function.size:
            found.append((start, end))
    return found


def _padded_sleb(value: int, bits: int) -> bytes:
    """Return a signed number as LEB128 of a length that depends on the bits alone."""
    out = []
    for _ in range(bits // 7):
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value & 0x7F))
