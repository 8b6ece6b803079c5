"""The kernel's compressed symbol table: writer, and an independent reader to check it.

Format: kernel/kallsyms.c and scripts/kallsyms.c of Linux 6.1. A name is a length (one byte, or
two with bit 7 of the first set) and that many token indexes; the text they expand to starts with
nm's type letter. Offsets follow CONFIG_KALLSYMS_ABSOLUTE_PERCPU: zero or above is an absolute
address, below zero stands for kallsyms_relative_base - 1 - offset.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

MAX_TOKENS = 256


@dataclass(frozen=True)
class Symbol:
    """One symbol as nm lists it: address (link time), type letter, name."""

    address: int
    kind: str
    name: str


def _merge(text: list[int], pair: tuple[int, int], token: int) -> list[int]:
    merged: list[int] = []
    at = 0
    while at < len(text):
        if tuple(text[at : at + 2]) == pair:
            merged.append(token)
            at += 2
        else:
            merged.append(text[at])
            at += 1
    return merged


def _compress(texts: list[bytes]) -> tuple[list[list[int]], list[bytes]]:
    """Replace the most frequent pairs by free token numbers, from 255 downwards."""
    coded = [list(text) for text in texts]
    used = {byte for text in texts for byte in text}
    tokens = [bytes([number]) if number in used else b"" for number in range(MAX_TOKENS)]
    for token in (number for number in range(MAX_TOKENS - 1, -1, -1) if number not in used):
        pairs = Counter(pair for text in coded for pair in pairwise(text))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        tokens[token] = tokens[best[0]] + tokens[best[1]]
        coded = [_merge(text, best, token) for text in coded]
    return coded, tokens


def _label(name: str) -> str:
    return f"\t.globl {name}\n\t.type {name}, @object\n\t.balign 8\n{name}:\n"


def _bytes(data: Iterable[int]) -> str:
    return "\t.byte " + ", ".join(f"{byte:#04x}" for byte in data) + "\n"


def assembly(symbols: list[Symbol], base: int) -> str:
    """Assembly text of the tables for symbols sorted by address; base is _text's address."""
    coded, tokens = _compress([(s.kind + s.name).encode() for s in symbols])
    out = ['\t.section .kallsyms, "a"\n', _label("kallsyms_offsets")]
    for symbol in symbols:
        absolute = symbol.address < base
        value = symbol.address if absolute else base - symbol.address - 1
        out.append(f"\t.long {value}\n")
    out += [_label("kallsyms_relative_base"), "\t.quad _text\n"]
    out += [_label("kallsyms_num_syms"), f"\t.long {len(symbols)}\n", _label("kallsyms_names")]
    markers, offset = [], 0
    for number, text in enumerate(coded):
        if number % 256 == 0:
            markers.append(offset)
        assert len(text) < 0x80  # the two-byte length is never needed here
        out.append(_bytes([len(text), *text]))
        offset += 1 + len(text)
    out += [_label("kallsyms_markers"), "\t.long " + ", ".join(map(str, markers)) + "\n"]
    out.append(_label("kallsyms_token_table"))
    starts, offset = [], 0
    for token in tokens:
        starts.append(offset)
        out.append(_bytes(token + b"\0"))
        offset += len(token) + 1
    out += [_label("kallsyms_token_index"), "\t.short " + ", ".join(map(str, starts)) + "\n"]
    out.append('\t.section .note.GNU-stack, "", @progbits\n')
    return "".join(out)


@dataclass(frozen=True)
class Tables:
    """The raw tables; each may run on behind its end. Base is relative_base at run time."""

    names: bytes
    count: int
    token_table: bytes
    token_index: bytes
    offsets: bytes
    base: int


def decode(tables: Tables) -> list[Symbol]:
    """Read the tables back; addresses are run-time ones."""
    names, table = tables.names, tables.token_table
    starts = struct.unpack(f"<{MAX_TOKENS}H", tables.token_index[: 2 * MAX_TOKENS])
    values = struct.unpack(f"<{tables.count}i", tables.offsets[: 4 * tables.count])
    symbols, at = [], 0
    for value in values:
        length = names[at]
        at += 1
        if length & 0x80:
            length = (length & 0x7F) | names[at] << 7
            at += 1
        text = b"".join(
            table[starts[token] : table.index(b"\0", starts[token])]
            for token in names[at : at + length]
        ).decode()
        at += length
        address = value if value >= 0 else tables.base - 1 - value
        symbols.append(Symbol(address, text[0], text[1:]))
    return symbols
