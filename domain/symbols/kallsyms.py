"""The kernel's own symbol table, as it lies in kernel memory.

Kernels since 6.0 say in VMCOREINFO where its parts are, so that symbols can be looked
up in a dump without any debuginfo. Source: kernel/kallsyms.c, scripts/kallsyms.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from kdump_gdbserver.domain.address_space import ByteOrder

_TOKENS = 256
_ADDRESS_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class KallsymsTables:
    """The raw tables.

    `names` holds, for each symbol in order of address, a length and that many token
    numbers; `offsets` a 32-bit value for each. `relative_base` is the run-time address
    that they count from. Wrong tables give no symbols or wrong ones, never an exception
    other than `ValueError`.
    """

    names: bytes
    tokens: tuple[bytes, ...]
    offsets: bytes
    relative_base: int
    byte_order: ByteOrder = "little"

    def find(self, wanted: Iterable[str], anchor: tuple[str, int] | None = None) -> dict[str, int]:
        """Return the run-time addresses of those `wanted` symbols that there are.

        `anchor` is a symbol whose address is known; if the table places it elsewhere,
        it cannot be trusted and `ValueError` is raised. Per-CPU symbols of kernels with
        a zero-based per-CPU area give their offset in that area.
        """
        names = set(wanted) | ({anchor[0]} if anchor else set())
        ordinals = self._ordinals({name.encode(): name for name in names})
        for absolute_percpu in (True, False):
            found = {name: self._address(n, absolute_percpu) for name, n in ordinals.items()}
            if anchor is None or found.get(anchor[0]) == anchor[1]:
                break
        else:
            raise ValueError(f"kallsyms does not place {anchor[0] if anchor else ''} right")
        return found

    def _entries(self) -> Iterator[bytes]:
        """Iterate over the symbols' token strings (a length above 127 takes two bytes)."""
        names, at, end = self.names, 0, len(self.names)
        count = len(self.offsets) // 4
        while at < end and count:
            length = names[at]
            at += 1
            if length & 0x80 and at < end:
                length = (length & 0x7F) | names[at] << 7
                at += 1
            yield names[at : at + length]
            at += length
            count -= 1

    def _ordinals(self, wanted: Mapping[bytes, str]) -> dict[str, int]:
        """Return the places of the wanted names in the table.

        Only entries whose first and last token can belong to a wanted name are spelled
        out; all else is passed over, so that damaged tables take no longer than sound ones.
        Before the name comes a letter for the symbol's kind, as nm(1) prints it.
        """
        longest = max(map(len, wanted), default=0) + 1
        firsts = {
            number
            for number, token in enumerate(self.tokens)
            if token[:1].isalpha() and any(name.startswith(token[1:]) for name in wanted)
        }
        lasts = {
            number
            for number, token in enumerate(self.tokens)
            if any(token.endswith(name) or name.endswith(token) for name in wanted)
        }
        tokens = [token if len(token) <= longest else b"\0" for token in self.tokens]
        found: dict[str, int] = {}
        for number, entry in enumerate(self._entries()):
            if 0 < len(entry) <= longest and entry[0] in firsts and entry[-1] in lasts:
                name = wanted.get(b"".join([tokens[token] for token in entry])[1:])
                if name is not None:
                    found[name] = number
        return found

    def _address(self, number: int, absolute_percpu: bool) -> int:
        prefix: Literal["<", ">"] = "<" if self.byte_order == "little" else ">"
        raw = self.offsets[4 * number : 4 * number + 4]
        if not absolute_percpu:
            return int(self.relative_base + struct.unpack(prefix + "I", raw)[0]) & _ADDRESS_MASK
        offset = int(struct.unpack(prefix + "i", raw)[0])
        # Zero or above: an absolute value; below: base - 1 - offset (CONFIG_KALLSYMS_
        # ABSOLUTE_PERCPU, x86_64 until its per-CPU area ceased to start at zero).
        return offset if offset >= 0 else (self.relative_base - 1 - offset) & _ADDRESS_MASK


def parse_tokens(
    token_table: bytes, token_index: bytes, byte_order: ByteOrder
) -> tuple[bytes, ...]:
    """Return the 256 tokens from their text and the 16-bit offsets into it."""
    prefix = "<" if byte_order == "little" else ">"
    starts = struct.unpack(f"{prefix}{_TOKENS}H", token_index[: 2 * _TOKENS])
    return tuple(token_table[start : token_table.find(b"\0", start)] for start in starts)
