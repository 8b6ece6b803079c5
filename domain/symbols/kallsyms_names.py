"""The names in the kernel's symbol table, and how they are packed.

A name is a length and that many token numbers; each of the 256 tokens stands for a piece
of text. Before the name comes a letter for the symbol's kind, as nm(1) prints it.
Source: kernel/kallsyms.c, scripts/kallsyms.c.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import struct
from array import array
from bisect import bisect_right
from collections.abc import Collection, Container, Iterator

from kdump_gdbserver.domain.address_space import ByteOrder

TOKENS = 256
# Each marker tells where the names of 256 symbols begin.
BLOCK = 256
# KSYM_NAME_LEN of include/linux/kallsyms.h: 512 since 6.1, 128 before.
MAX_NAME = 512
# What all names may expand to, in characters. Those of Linux 7.3 make 6 MiB; the bound is
# there for damaged tables.
MAX_TEXT = 64 << 20
_PRINTABLE = re.compile(rb"[!-~]*\Z")
_LONG = 0x80  # a length with this bit goes on in the next byte
_SEPARATOR = "\u0100"  # no token number
_PIECE = 1 << 15  # bytes of packed names
_FEW = 8


class KallsymsNames:
    """The names of all symbols, by their numbers: the first has 0.

    They stay packed, as kallsyms has them: spelled out they take twice the memory, and as
    objects ten times.
    """

    def __init__(self, packed: bytes, tokens: tuple[bytes, ...], count: int) -> None:
        """Take `count` names; raise `ValueError` when `packed` and `tokens` cannot be such.

        There must be a name for every symbol, and all must be of printable characters.
        What follows the last name in `packed` does not matter.
        """
        if len(tokens) != TOKENS:
            raise ValueError(f"kallsyms has {len(tokens)} tokens instead of {TOKENS}")
        for token in tokens:
            if len(token) > MAX_NAME or not _PRINTABLE.match(token):
                raise ValueError(f"kallsyms: {token[:20]!r} is no part of a name")
        self._tokens = tuple(token.decode("ascii") for token in tokens)
        self._packed = packed
        # Where the length of each name is, and where the last name ends.
        self._places, self.size = _places(packed, count)
        # Numbers that are not needed stand for nothing.
        nothing = bytes(number for number, token in enumerate(tokens) if not token)
        if nothing and any(
            not self._coded(number).strip(nothing)
            for number in self._numbers(set(nothing), set(nothing))
        ):
            raise ValueError("kallsyms: there is a symbol without a name")
        self._text: str | None = None
        self._known: dict[str, list[int]] = {}
        self._searches = 0

    @property
    def packed(self) -> tuple[bytes, ...]:
        """The bytes of the tables that the names are made of: these, and the tokens."""
        return (self._packed[: self.size], *(token.encode("ascii") for token in self._tokens))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> str:
        """Return the kind and name of the symbol with that number."""
        return self._spell(self._coded(number))

    @property
    def markers(self) -> list[int]:
        """Where the names of each 256 symbols begin."""
        return self._places[::BLOCK].tolist()

    def find(self, wanted: Collection[str]) -> dict[str, list[int]]:
        """Return the numbers of those symbols that have one of the `wanted` names.

        There may be several: static functions and variables can share theirs. What has been
        found is remembered. The first calls take some 20 ms each for any number of names; from
        the ninth on all are spelled out, and each name takes 1 ms.
        """
        unknown = {name for name in wanted if name not in self._known and "\n" not in name}
        if unknown:
            self._searches += 1
            if self._searches == _FEW + 1:
                with contextlib.suppress(ValueError):  # too much text: found as before
                    self.spell_all()
            self._known.update((name, []) for name in unknown)
            search = self._find_packed if self._text is None else self._find_spelled
            for name, number in search(unknown):
                self._known[name].append(number)
        return {name: self._known[name] for name in wanted if self._known.get(name)}

    def spell_all(self) -> None:
        """Spell all names out at once; raises `ValueError` as `all` does."""
        self._spelled()

    def all(self) -> list[str]:
        """Return the kinds and names of all symbols: "Tprintk".

        Raises `ValueError` when damaged tables make more text of them than `MAX_TEXT`.
        """
        return self._spelled().split("\n")[1:-1] if self._places else []

    def _coded(self, number: int) -> bytes:
        """Return the numbers of a name's tokens."""
        at = self._places[number]
        length = self._packed[at]
        if length & _LONG:
            at += 1
            length = length & ~_LONG | self._packed[at] << 7
        return self._packed[at + 1 : at + 1 + length]

    def _spell(self, coded: bytes) -> str:
        return "".join([self._tokens[number] for number in coded])

    @functools.cached_property
    def _ends(self) -> tuple[bytes, bytes]:
        """The first tokens of all names, and the last ones."""
        packed, places = self._packed, self._places
        firsts = bytes([packed[at + 1 if packed[at] < _LONG else at + 2] for at in places])
        lasts = bytes([packed[at - 1] for at in places[1:]]) + packed[self.size - 1 : self.size]
        return firsts, lasts

    def _numbers(self, firsts: Container[int], lasts: Container[int]) -> Iterator[int]:
        """Iterate over the names that begin and end with such tokens."""
        masks = []
        for ends, wanted in zip(self._ends, (firsts, lasts), strict=True):
            mask = bytes(number in wanted for number in range(TOKENS))
            masks.append(int.from_bytes(ends.translate(mask), "big"))
        count = len(self._places)
        return itertools.compress(itertools.count(), (masks[0] & masks[1]).to_bytes(count, "big"))

    def _find_packed(self, wanted: set[str]) -> Iterator[tuple[str, int]]:
        """Find names without spelling all of them out.

        Only names whose first two tokens and the last can belong to a wanted one are looked
        at; so damaged tables take no longer than sound ones.
        """
        longest = max(map(len, wanted), default=0) + 1
        tokens = [token if len(token) <= longest else "\n" for token in self._tokens]
        seconds = self._pairs(wanted)
        lasts = {
            number
            for number, token in enumerate(self._tokens)
            if any(token.endswith(name) or name.endswith(token) for name in wanted)
        }
        packed, places = self._packed, self._places
        for number in self._numbers(seconds, lasts):
            at = places[number]
            length = packed[at]
            if 1 < length < _LONG and packed[at + 2] not in seconds[packed[at + 1]]:
                continue
            coded = packed[at + 1 : at + 1 + length] if length < _LONG else self._coded(number)
            if len(coded) > longest:
                continue
            name = "".join([tokens[token] for token in coded])[1:]
            if name in wanted:
                yield name, number

    def _pairs(self, wanted: Collection[str]) -> dict[int, Container[int]]:
        """Return the tokens that the first one of a wanted name can be, and the second then."""
        numbers: dict[str, list[int]] = {}
        for number, token in enumerate(self._tokens):
            numbers.setdefault(token, []).append(number)
        nothing = numbers.get("", [])
        pairs: dict[int, Container[int]] = dict.fromkeys(nothing, range(TOKENS))
        seconds: dict[str, set[int]] = {}  # by what the first says behind the letter for the kind
        for number, token in enumerate(self._tokens):
            begun = token[1:]
            names = [name for name in wanted if name.startswith(begun)] if token else []
            if names and begun not in seconds:
                rests = [name[len(begun) :] for name in names]
                parts = {rest[:end] for rest in rests for end in range(1, len(rest) + 1)}
                found = [numbers[part] for part in parts & numbers.keys()]
                seconds[begun] = set(nothing).union(*found)
            if names:
                pairs[number] = seconds[begun]
        return pairs

    def _find_spelled(self, wanted: set[str]) -> Iterator[tuple[str, int]]:
        text = self._spelled()
        for name in wanted:
            line = name + "\n"
            at = text.find(line)
            while at >= 0:
                if at >= 2 and text[at - 2] == "\n":
                    yield name, text.count("\n", 0, at) - 1
                at = text.find(line, at + 1)

    def _spelled(self) -> str:
        r"""Return all kinds and names, a \n before each and after the last."""
        if self._text is None:
            table: dict[int, str] = dict(enumerate(self._tokens)) | {ord(_SEPARATOR): "\n"}
            parts, size = [], 0
            start = 0
            while start < len(self):
                end = bisect_right(self._places, self._places[start] + _PIECE)
                coded = [self._coded(number).decode("latin-1") for number in range(start, end)]
                start = end
                parts.append(_SEPARATOR.join(["", *coded]).translate(table))
                size += len(parts[-1])
                if size > MAX_TEXT:
                    raise ValueError(f"kallsyms: the names take more than {MAX_TEXT} characters")
            parts.append("\n")
            self._text = "".join(parts)
        return self._text


def parse_tokens(
    token_table: bytes, token_index: bytes, byte_order: ByteOrder
) -> tuple[bytes, ...]:
    """Return the 256 tokens from their text and the 16-bit offsets into it."""
    prefix = "<" if byte_order == "little" else ">"
    starts = struct.unpack(f"{prefix}{TOKENS}H", token_index[: 2 * TOKENS])
    return tuple(token_table[start : token_table.find(b"\0", start)] for start in starts)


def _places(packed: bytes, count: int) -> tuple[array[int], int]:
    """Return where the length of each name is, and where the names end.

    A length above 127 takes two bytes (since 6.1). Raises `ValueError` when there are fewer
    names, or one of no characters.
    """
    places = array("I")
    append = places.append
    at = 0
    try:
        for _ in range(count):
            append(at)
            length = packed[at]
            if length & _LONG:
                at += 1
                length = length & ~_LONG | packed[at] << 7
            if not length:
                raise IndexError
            at += length + 1
    except IndexError:
        at = len(packed) + 1
    if at > len(packed):
        raise ValueError(f"kallsyms: there are no {count} names")
    return places, at
