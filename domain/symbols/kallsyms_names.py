"""The names in the kernel's symbol table, and how they are packed.

A name is a length and that many token numbers; each of the 256 tokens stands for a piece
of text. Before the name comes a letter for the symbol's kind, as nm(1) prints it.
Source: kernel/kallsyms.c, scripts/kallsyms.c.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Collection, Iterator

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
_SEPARATOR = "\u0100"  # no token number
_PIECE = 1 << 16
_FEW = 4


class KallsymsNames:
    """The names of all symbols, by their numbers: the first has 0.

    They are spelled out when first needed: a few at a time, or all of them.
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
        self._count = count
        self.markers, coded, self.size = _split(packed, count)
        # Numbers that are not needed stand for nothing.
        nothing = "".join(chr(number) for number, token in enumerate(tokens) if not token)
        if nothing and any(not entry.strip(nothing) for entry in coded):
            raise ValueError("kallsyms: there is a symbol without a name")
        # Together they take a quarter of the memory.
        self._coded = _SEPARATOR.join(coded)
        self._text: str | None = None
        self._known: dict[str, list[int]] = {}
        self._searches = 0

    @property
    def packed(self) -> tuple[bytes, ...]:
        """The bytes of the tables that the names are made of: these, and the tokens."""
        return (self._packed[: self.size], *(token.encode("ascii") for token in self._tokens))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> str:
        """Return the kind and name of the symbol with that number."""
        block, rest = divmod(number, BLOCK)
        packed = self._packed[self.markers[block] :]
        return self._spell(_split(packed, rest + 1)[1][rest])

    def find(self, wanted: Collection[str]) -> dict[str, list[int]]:
        """Return the numbers of those symbols that have one of the `wanted` names.

        There may be several: static functions and variables can share theirs. What has been
        found is remembered. The first few calls take 40 ms each for any number of names; then
        all are spelled out, and each name takes 1 ms.
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
        return self._spelled().split("\n")[1:-1] if self._count else []

    def _spell(self, coded: str) -> str:
        return "".join([self._tokens[ord(number)] for number in coded])

    def _find_packed(self, wanted: set[str]) -> Iterator[tuple[str, int]]:
        """Find names without spelling all of them out.

        Only entries whose first and last token can belong to a wanted name are looked at;
        so damaged tables take no longer than sound ones.
        """
        longest = max(map(len, wanted), default=0) + 1
        firsts, lasts, tokens = set(), set(), []
        for number, token in enumerate(self._tokens):
            tokens.append(token if len(token) <= longest else "\n")
            if any(name.startswith(token[1:]) for name in wanted):
                firsts.add(chr(number))
            if any(token.endswith(name) or name.endswith(token) for name in wanted):
                lasts.add(chr(number))
        for number, entry in enumerate(self._coded.split(_SEPARATOR)):
            if entry and entry[0] in firsts and entry[-1] in lasts and len(entry) <= longest:
                name = "".join([tokens[ord(token)] for token in entry])[1:]
                if name in wanted:
                    yield name, number

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
            parts, size = ["\n"], 0
            for start in range(0, len(self._coded), _PIECE):
                parts.append(self._coded[start : start + _PIECE].translate(table))
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


def _split(packed: bytes, count: int) -> tuple[list[int], list[str], int]:
    """Return where each block of 256 names starts, the names as token numbers, and their end.

    A length above 127 takes two bytes (since 6.1). Raises `ValueError` when there are fewer
    names, or one of no characters.
    """
    text = packed.decode("latin-1")
    markers: list[int] = []
    coded: list[str] = []
    append = coded.append
    at = 0
    try:
        for start in range(0, count, BLOCK):
            markers.append(at)
            for _ in range(min(BLOCK, count - start)):
                length = packed[at]
                at += 1
                if length & 0x80:
                    length = length & 0x7F | packed[at] << 7
                    at += 1
                append(text[at : at + length])
                at += length
    except IndexError:
        at = len(packed) + 1
    if at > len(packed) or "" in coded:
        raise ValueError(f"kallsyms: there are no {count} names")
    return markers, coded, at
