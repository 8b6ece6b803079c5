"""Writes the kernel's compressed symbol table, as scripts/kallsyms.c of Linux does."""

from __future__ import annotations

import functools
import itertools
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kdump_gdbserver.domain.address_space import ByteOrder

TOKENS = 256


@dataclass(frozen=True)
class Tables:
    """The parts of the table as bytes, by the names their kernel symbols end in."""

    names: bytes
    num_syms: bytes
    token_table: bytes
    token_index: bytes
    offsets: bytes
    relative_base: bytes
    markers: bytes

    def parts(self) -> dict[str, bytes]:
        order = "offsets relative_base num_syms names token_table token_index"  # as until 6.3
        return {name: getattr(self, name) for name in order.split()}


def write_tables(
    symbols: Mapping[str, int],
    base: int,
    byte_order: ByteOrder = "little",
    *,
    absolute_percpu: bool = False,
    compress: bool = True,
    kinds: Mapping[str, str] | None = None,
) -> Tables:
    """Write the tables for symbols at run-time addresses; `base` is the lowest of the text.

    With `absolute_percpu` a symbol below `base` is an absolute value (an offset in the
    per-CPU area) and all others count downwards from -1; without, every offset is unsigned.
    Without `compress` every token is one character.
    """
    prefix = "<" if byte_order == "little" else ">"
    ordered = sorted(symbols, key=lambda name: symbols[name])
    kinds = kinds or {}
    texts = tuple((kinds.get(name, "D") + name).encode() for name in ordered)
    coded, tokens = _tokenize(texts, compress)
    packed = [_length(len(code)) + bytes(code) for code in coded]
    offsets = b"".join(
        struct.pack(prefix + "I", _offset(symbols[name], base, absolute_percpu)) for name in ordered
    )
    token_table, starts = b"", []
    for token in tokens:
        starts.append(len(token_table))
        token_table += token + b"\0"
    return Tables(
        names=b"".join(packed),
        num_syms=struct.pack(prefix + "I", len(ordered)),
        token_table=token_table,
        token_index=struct.pack(f"{prefix}{TOKENS}H", *starts),
        offsets=offsets,
        relative_base=struct.pack(prefix + "Q", base),
        markers=b"".join(
            struct.pack(
                prefix + "I", sum(len(_length(len(code))) + len(code) for code in coded[:n])
            )
            for n in range(0, len(coded), 256)
        ),
    )


# How scripts/kallsyms.c laid the tables out: the releases of which that is true, roughly.
Layout = Literal["4.20-6.1", "6.2-6.3", "6.4-6.19", "7.0-", "addresses"]
_OLD = "offsets relative_base num_syms names markers token_table token_index"
_ORDERS: dict[Layout, str] = {
    "4.20-6.1": _OLD,
    "6.2-6.3": _OLD.replace("token_table", "seqs token_table"),
    "6.4-6.19": "num_syms names markers token_table token_index offsets relative_base seqs",
    "7.0-": "num_syms names markers token_table token_index offsets seqs",
    "addresses": _OLD.replace("relative_base ", ""),
}


def lay_out(
    symbols: Mapping[str, int],
    base: int,
    at: int,
    layout: Layout,
    byte_order: ByteOrder = "little",
    *,
    absolute_percpu: bool = False,
) -> tuple[bytes, dict[str, int]]:
    """Return the tables as one piece of memory for the address `at`, and where each part is."""
    tables = write_tables(symbols, base, byte_order, absolute_percpu=absolute_percpu)
    parts = {**tables.parts(), "markers": tables.markers}
    # A permutation of the symbols' numbers, three bytes each.
    parts["seqs"] = b"".join((n * 7919 % len(symbols)).to_bytes(3) for n in range(len(symbols)))
    addresses = sorted(symbols.values())
    alignment = 4 if layout == "7.0-" else 8
    memory, places = b"", {}
    for name in _ORDERS[layout].split():
        memory += bytes(-(at + len(memory)) % alignment)
        places[name] = at + len(memory)
        if name == "offsets" and layout == "7.0-":
            memory += b"".join(
                (address - (places[name] + 4 * n) & 0xFFFFFFFF).to_bytes(4, byte_order)
                for n, address in enumerate(addresses)
            )
        elif name == "offsets" and layout == "addresses":
            memory += b"".join(address.to_bytes(8, byte_order) for address in addresses)
        else:
            memory += parts[name]
    return memory, places


def _offset(address: int, base: int, absolute_percpu: bool) -> int:
    if absolute_percpu:
        offset = address if address < base else base - 1 - address
        assert -(1 << 31) <= offset < 1 << 31
        return offset & 0xFFFFFFFF
    assert 0 <= address - base < 1 << 32
    return address - base


def _length(count: int) -> bytes:
    return bytes([count]) if count < 0x80 else bytes([count & 0x7F | 0x80, count >> 7])


@functools.lru_cache(maxsize=64)
def _tokenize(
    texts: tuple[bytes, ...], compress: bool
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the texts as token numbers, and the tokens; unused numbers are empty tokens."""
    coded = list(texts)
    used = {byte for text in texts for byte in text}
    tokens = [bytes([number]) if number in used else b"" for number in range(TOKENS)]
    for free in (n for n in range(TOKENS - 1, -1, -1) if compress and n not in used):
        pairs = Counter(pair for code in coded for pair in itertools.pairwise(code))
        if not pairs:
            break
        (left, right), count = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if count < 2:
            break
        tokens[free] = tokens[left] + tokens[right]
        coded = [code.replace(bytes((left, right)), bytes((free,))) for code in coded]
    return tuple(coded), tuple(tokens)
