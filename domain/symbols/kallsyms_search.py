"""Finding the kernel's symbol table in a dump.

Since 6.0 VMCOREINFO tells where its parts are. Elsewhere they are found by their shape. In
the kernel's read-only data lie, in this order (scripts/kallsyms.c):

    offsets, relative_base, num_syms, names, markers, [seqs_of_names,] token_table, token_index
    num_syms, names, markers, token_table, token_index, offsets, relative_base   since 6.4
    num_syms, names, markers, token_table, token_index, offsets                  since 7.0

until 6.3 with addresses instead of offsets in some kernels; from 7.0 on, each is aligned to
4 bytes instead of 8. Only 64-bit kernels are searched.

What is found is proved before it is believed: the tokens' places must agree with their
text, the names with their markers and their number, the addresses with their order and with
whatever addresses are known.
"""

from __future__ import annotations

import itertools
import operator
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.symbols.kallsyms import MAX_SYMBOLS, Kallsyms, KallsymsTables
from kdump_gdbserver.domain.symbols.kallsyms_names import (
    BLOCK,
    MAX_NAME,
    TOKENS,
    KallsymsNames,
    parse_tokens,
)
from kdump_gdbserver.domain.symbols.memory_scan import readable_before, readable_pieces
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# Bounds on what a damaged dump can make us read, in bytes.
MAX_NAMES = 16 << 20
MAX_TOKEN_TEXT = 8192
# How much of the kernel is searched, from the start of its text.
SEARCH_SPAN = 128 << 20

# VMCOREINFO_SYMBOL_ARRAY gives the value of a pointer under the pointer's name.
_POINTERS = frozenset({"mem_section"})

# Single characters stand for themselves; all kernels have symbols with every digit.
_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
_FIRST_DIGIT = ord("0")
# Before the markers there are at most 3 bytes (seqs_of_names) for each symbol.
_BEHIND_MARKERS = 3 * MAX_SYMBOLS + 64
# The fewest markers that can be recognised for certain: 1,800 symbols.
_LEAST_MARKERS = 8
_LEAST_STEP, _LARGEST_STEP = 2 * BLOCK, BLOCK * (MAX_NAME + 2)


def anchors_of(info: Vmcoreinfo) -> dict[str, int]:
    """Return the symbols whose addresses VMCOREINFO tells."""
    return {
        name: address
        for name in info.untagged("SYMBOL")
        if name not in _POINTERS and (address := info.symbol(name)) is not None
    }


def find_kallsyms(
    memory: AddressSpace, info: Vmcoreinfo, byte_order: ByteOrder, first: Collection[str] = ()
) -> Kallsyms:
    """Return the kernel's symbols: from where VMCOREINFO says they are, else by a search.

    `first` are names that will be asked for, as in `Kallsyms.proved`. Raises `ValueError`,
    which says why, when there are none to be believed.
    """
    anchors = anchors_of(info)
    told = info.symbol("kallsyms_names")
    if told is not None:
        try:
            return read_kallsyms(memory, info, byte_order, first)
        except MemoryFault as error:
            raise ValueError(f"kallsyms: {error}") from error
    start = info.symbol("_stext")
    if start is None:
        raise ValueError("kallsyms: VMCOREINFO does not tell where the kernel is")
    symbols = search_kallsyms(memory, byte_order, start, start + SEARCH_SPAN, anchors)
    symbols.find(first)
    return symbols


def read_kallsyms(
    memory: AddressSpace, info: Vmcoreinfo, byte_order: ByteOrder, first: Collection[str] = ()
) -> Kallsyms:
    """Return the symbols from where VMCOREINFO says they are.

    Raises `ValueError` when it does not, or they are not there; `MemoryFault` when that
    memory cannot be read.
    """
    at: dict[str, int] = {}
    for name in ("names", "num_syms", "token_table", "token_index", "offsets"):
        address = info.symbol(f"kallsyms_{name}")
        if address is None:
            raise ValueError(f"kallsyms: VMCOREINFO does not tell where kallsyms_{name} is")
        at[name] = address
    base_at = info.symbol("kallsyms_relative_base")
    count = memory.read_uint(at["num_syms"], 4, byte_order)
    if count > MAX_SYMBOLS:
        raise ValueError(f"kallsyms_num_syms is {count}")
    size = min((a - at["names"] for a in at.values() if a > at["names"]), default=MAX_NAMES)
    tables = KallsymsTables(
        memory.read(at["names"], min(size, MAX_NAMES)),
        parse_tokens(
            memory.read(at["token_table"], MAX_TOKEN_TEXT),
            memory.read_exact(at["token_index"], 2 * TOKENS),
            byte_order,
        ),
        memory.read_exact(at["offsets"], 4 * count),
        None if base_at is None else memory.read_uint(base_at, 8, byte_order),
        byte_order,
        at["offsets"] if base_at is None else None,
    )
    return Kallsyms.proved(tables, anchors_of(info), first)


def search_kallsyms(
    memory: AddressSpace,
    byte_order: ByteOrder,
    start: int,
    end: int,
    anchors: Mapping[str, int] | None = None,
) -> Kallsyms:
    """Return the symbols whose tokens lie between `start` and `end`, found by their shape.

    At least one of the `anchors` must be among them. Without anchors, the kernel's banner
    must be where `linux_banner` is; where only functions have symbols, the tables between
    the text and the initialisation code. Raises `ValueError`, which says why, when no table
    is found that can be believed.
    """
    reason = "kallsyms: no table of tokens is found"
    budget = _Budget()
    for found in _token_tables(memory, byte_order, start, end):
        if not budget.take("token tables"):
            break
        try:
            return _Search(memory, byte_order, found, budget).symbols(anchors or {})
        except ValueError as error:
            reason = str(error)
        except MemoryFault as error:
            reason = f"kallsyms: {error}"
    raise ValueError(reason)


class _Budget:
    """How often each step may be tried, for memory that is full of look-alikes."""

    def __init__(self) -> None:
        self._left = {"token tables": 16, "markers": 64, "first names": 1000, "all names": 8}

    def take(self, what: str) -> bool:
        self._left[what] -= 1
        return self._left[what] >= 0


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A token table, where it is, and where its index ends."""

    tokens: tuple[bytes, ...]
    at: int
    index_end: int


def _token_tables(
    memory: AddressSpace, byte_order: ByteOrder, start: int, end: int
) -> Iterator[_Tokens]:
    overlap = 2 * MAX_TOKEN_TEXT
    for base, data in readable_pieces(memory, start, end, overlap):
        digits = data.find(_DIGITS)
        while digits >= 0:
            # One that is cut off here is whole in the next piece.
            found = _tokens_around(base, data, digits, byte_order)
            if found is not None:
                yield found
            digits = data.find(_DIGITS, digits + 1)


def _tokens_around(base: int, data: bytes, digits: int, byte_order: ByteOrder) -> _Tokens | None:
    """Return the token table that has its digits there, if the index that follows says so."""
    end = digits
    for _ in range(TOKENS - _FIRST_DIGIT):
        end = data.find(b"\0", end, digits + MAX_TOKEN_TEXT) + 1
        if not end:
            return None
    for alignment in (8, 4):
        index = _align(base + end, alignment) - base
        raw = data[index : index + 2 * TOKENS]
        if len(raw) < 2 * TOKENS:
            continue
        starts = struct.unpack(_prefix(byte_order) + f"{TOKENS}H", raw)
        first = digits - starts[_FIRST_DIGIT]
        if first < 0:
            continue
        tokens = tuple(data[first:end].split(b"\0")[:-1])
        places = itertools.accumulate((len(token) + 1 for token in tokens), initial=0)
        if len(tokens) == TOKENS and all(map(operator.eq, places, starts)):
            return _Tokens(tokens, base + first, base + index + len(raw))
    return None


class _Search:
    """The search for the rest, from a token table and what follows its index."""

    def __init__(
        self, memory: AddressSpace, byte_order: ByteOrder, found: _Tokens, budget: _Budget
    ) -> None:
        self.memory = memory
        self.byte_order: ByteOrder = byte_order
        self.tokens = found.tokens
        self.token_table = found.at
        self.behind = found.index_end
        self.budget = budget

    def symbols(self, anchors: Mapping[str, int]) -> Kallsyms:
        reason = "kallsyms: there are tokens, but no names before them"
        for markers_at, markers in self._markers():
            for count_at, count, packed in self._names(markers_at, markers):
                reason = "kallsyms: there are names, but no addresses that fit them"
                for tables in self._tables(count_at, count, packed):
                    try:
                        found = Kallsyms.proved(tables, anchors)
                        self._prove(found, anchors)
                    except ValueError as error:
                        reason = str(error)
                        continue
                    return found
        raise ValueError(reason)

    def _markers(self) -> Iterator[tuple[int, list[int]]]:
        """Find where the names of each 256 symbols are said to begin: 0 and ascending."""
        before = readable_before(self.memory, self.token_table, _BEHIND_MARKERS)
        base = self.token_table - len(before)
        step = rb"(?:[^\0].|.[^\0])"
        number = step + rb"\0\0" if self.byte_order == "little" else rb"\0\0" + step
        shape = re.compile(rb"(?=\0{4}(?:%s){%d})" % (number, _LEAST_MARKERS - 1), re.DOTALL)
        places = [match.start() for match in shape.finditer(before)]
        for place in reversed(places):
            if (base + place) % 4 == 0 and self.budget.take("markers"):
                markers = self._ascending(before, place)
                for length in range(len(markers), max(_LEAST_MARKERS, len(markers) - 3), -1):
                    yield base + place, markers[:length]

    def _ascending(self, data: bytes, at: int) -> list[int]:
        """Return the markers from `at` on, as far as they can be such."""
        markers = [0]
        for place in range(at + 4, len(data) - 3, 4):
            value = int.from_bytes(data[place : place + 4], self.byte_order)
            if not _LEAST_STEP <= value - markers[-1] <= _LARGEST_STEP:
                break
            markers.append(value)
        return markers

    def _names(self, markers_at: int, markers: list[int]) -> Iterator[tuple[int, int, bytes]]:
        """Find the names, by their number before them and by their markers.

        Yields where the number is, the number, and the packed names.
        """
        blocks = len(markers)
        rest = min(markers[-1] + _LARGEST_STEP + 16, MAX_NAMES)
        before = readable_before(self.memory, markers_at, rest)
        base = markers_at - len(before)
        last = len(before) - markers[-1] - 4
        skip = -base % 4
        values = struct.iter_unpack(
            _prefix(self.byte_order) + "I", before[skip : skip + max(0, last - skip) // 4 * 4]
        )
        for place, (count,) in enumerate(values):
            if not BLOCK * (blocks - 1) < count <= BLOCK * blocks:
                continue
            count_at = skip + 4 * place
            for alignment in (8, 4):
                packed = before[_align(base + count_at + 4, alignment) - base :]
                if self._are_names(packed, count, markers):
                    yield base + count_at, count, packed
                    break

    def _are_names(self, packed: bytes, count: int, markers: list[int]) -> bool:
        """Return whether `packed` holds the names of these markers and hardly more."""
        try:
            if not self.budget.take("first names"):
                return False
            if KallsymsNames(packed, self.tokens, BLOCK + 1).markers != markers[:2]:
                return False
            if not self.budget.take("all names"):
                return False
            names = KallsymsNames(packed, self.tokens, count)
        except ValueError:
            return False
        gap = packed[names.size :]
        return names.markers == markers and len(gap) < 8 and not gap.strip(b"\0")

    def _tables(self, count_at: int, count: int, packed: bytes) -> Iterator[KallsymsTables]:
        """Read what can be the addresses, in each layout there was."""
        read = self.memory.read_exact
        order = self.byte_order

        def tables(
            at: int, base_at: int | None = None, absolute: bool = False
        ) -> Iterator[KallsymsTables]:
            try:
                offsets = read(at, (8 if absolute else 4) * count)
                base = None if base_at is None else self.memory.read_uint(base_at, 8, order)
            except MemoryFault:
                return
            place = None if absolute or base_at is not None else at
            yield KallsymsTables(packed, self.tokens, offsets, base, order, place)

        size = -(-4 * count // 8) * 8
        if count_at % 8 == 0:
            yield from tables(count_at - 8 - size, count_at - 8)
            yield from tables(_align(self.behind, 8), _align(self.behind, 8) + size)
        yield from tables(_align(self.behind, 4))
        if count_at % 8 == 0:
            yield from tables(count_at - 8 * count, absolute=True)

    def _prove(self, found: Kallsyms, anchors: Mapping[str, int]) -> None:
        """Raise `ValueError` unless something beside the tables says where symbols are."""
        if any(anchors[name] in places for name, places in found.find(anchors).items()):
            return
        marks = found.find(("linux_banner", "_stext", "_etext", "_sinittext"))
        for place in marks.pop("linux_banner", ()):
            try:
                if self.memory.read(place, 14) == b"Linux version ":
                    return
            except MemoryFault:
                break
        if len(marks) == 3:
            (stext,), (etext,), (sinittext,) = marks["_stext"], marks["_etext"], marks["_sinittext"]
            if stext < etext <= self.token_table < sinittext:
                return
        raise ValueError("kallsyms: nothing proves the table that was found")


def _prefix(byte_order: ByteOrder) -> str:
    return "<" if byte_order == "little" else ">"


def _align(address: int, alignment: int) -> int:
    return address + -address % alignment
