"""The kernel's own symbol table, as it lies in kernel memory.

Symbols can be looked up in it without any debuginfo; where its parts are is found by
`kallsyms_search`. Source: kernel/kallsyms.c, scripts/kallsyms.c.
"""

from __future__ import annotations

import enum
import itertools
import operator
import sys
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.symbols.kallsyms_names import KallsymsNames, parse_tokens

__all__ = ["Encoding", "Kallsyms", "KallsymsTables", "Symbol", "parse_tokens"]

MAX_SYMBOLS = 2_000_000
_ADDRESS_MASK = (1 << 64) - 1


class Encoding(enum.Enum):
    """How the table tells the symbols' addresses."""

    # CONFIG_KALLSYMS_ABSOLUTE_PERCPU: x86_64 until its per-CPU area ceased to start at 0 (6.15).
    PERCPU = "offsets from kallsyms_relative_base, those of per-CPU symbols absolute"
    BASE = "unsigned offsets from kallsyms_relative_base"
    # Since 7.0; there is no kallsyms_relative_base any more.
    PLACE = "offsets from where each of them lies"
    ABSOLUTE = "addresses"  # without CONFIG_KALLSYMS_BASE_RELATIVE


class Symbol(NamedTuple):
    """One symbol: `kind` is the letter that nm(1) prints, `address` that of run time."""

    name: str
    kind: str
    address: int


@dataclass(frozen=True, slots=True)
class KallsymsTables:
    """The raw tables.

    `names` holds, for each symbol in order of address, a length and that many token
    numbers; what follows the last name does not matter. `offsets` has 32 bits for each
    symbol, 64 if they are addresses, and so tells how many symbols there are.
    `relative_base` is the run-time address that the offsets count from, `offsets_at` where
    they lie themselves; each is None where nothing counts from it.
    """

    names: bytes
    tokens: tuple[bytes, ...]
    offsets: bytes
    relative_base: int | None
    byte_order: ByteOrder = "little"
    offsets_at: int | None = None

    def encodings(self) -> tuple[Encoding, ...]:
        """Return the encodings that there can be, the likelier one first."""
        if self.relative_base is not None:
            return Encoding.PERCPU, Encoding.BASE
        return (Encoding.ABSOLUTE,) if self.offsets_at is None else (Encoding.PLACE,)

    def count(self) -> int:
        """Return how many symbols there are."""
        absolute = self.relative_base is None and self.offsets_at is None
        return len(self.offsets) // (8 if absolute else 4)

    def addresses(self, encoding: Encoding) -> array[int]:
        """Return the addresses of all symbols, read in one of the `encodings`.

        Raises `ValueError` when they cannot be of that encoding.
        """
        if encoding is Encoding.ABSOLUTE:
            return self._values("Q")
        base = self.relative_base or 0
        if encoding is Encoding.BASE:
            return array("Q", (base + offset & _ADDRESS_MASK for offset in self._values("I")))
        if encoding is Encoding.PERCPU:
            # Zero or above: an absolute value; below: base - 1 - offset.
            last, values = base - 1, self._values("i")
            if min(values, default=0) >= 0:
                raise ValueError("kallsyms: no symbol counts from kallsyms_relative_base")
            return array("Q", (o if o >= 0 else last - o & _ADDRESS_MASK for o in values))
        values, place = self._values("i"), self.offsets_at or 0
        places = range(place, place + 4 * len(values), 4)
        pairs = zip(values, places, strict=True)
        return array("Q", (offset + place & _ADDRESS_MASK for offset, place in pairs))

    def _values(self, code: str) -> array[int]:
        values = array(code)
        values.frombytes(self.offsets[: self.count() * values.itemsize])
        if self.byte_order != sys.byteorder:
            values.byteswap()
        return values


class Kallsyms:
    """The kernel's symbols in order of their addresses.

    Per-CPU symbols of kernels whose per-CPU area starts at zero have their offset in that
    area for an address.
    """

    def __init__(self, names: KallsymsNames, addresses: array[int], encoding: Encoding) -> None:
        """Raise `ValueError` when the addresses are not in order."""
        if not all(map(operator.le, addresses, itertools.islice(addresses, 1, None))):
            raise ValueError("kallsyms: addresses are not in order")
        self.names = names
        self.addresses = addresses
        self.encoding = encoding

    @classmethod
    def proved(
        cls, tables: KallsymsTables, anchors: Mapping[str, int], first: Collection[str] = ()
    ) -> Kallsyms:
        """Return the symbols, read in the way that places all `anchors` right.

        `anchors` are symbols whose addresses are known; those that the table lacks prove nothing.
        The names in `first` are looked up together with them, so that asking for them takes no more
        time. Raises `ValueError` when there is no such way: the tables are not to be trusted.
        """
        names = KallsymsNames(tables.names, tables.tokens, tables.count())
        found = names.find({*anchors, *first})
        reason = misplaced = ""
        for encoding in tables.encodings():
            try:
                symbols = cls(names, tables.addresses(encoding), encoding)
            except ValueError as error:
                reason = str(error)
                continue
            wrong = [
                name
                for name, address in anchors.items()
                if name in found and address not in [symbols.addresses[n] for n in found[name]]
            ]
            if not wrong:
                return symbols
            misplaced = f"kallsyms does not place {wrong[0]} right"
        raise ValueError(misplaced or reason)

    def __len__(self) -> int:
        return len(self.addresses)

    def find(self, wanted: Collection[str]) -> dict[str, tuple[int, ...]]:
        """Return the addresses of those `wanted` symbols that there are.

        Static functions and variables may share a name: it stands for several addresses
        then, in ascending order.
        """
        return {
            name: tuple(sorted({self.addresses[number] for number in numbers}))
            for name, numbers in self.names.find(wanted).items()
        }

    def address(self, name: str) -> int | None:
        """Return the address of a symbol; None if there is none, or the name is no one's own."""
        places = self.find((name,)).get(name, ())
        return places[0] if len(places) == 1 else None

    def all(self) -> Iterator[Symbol]:
        """Iterate over all symbols; raises `ValueError` as `KallsymsNames.all` does."""
        for line, address in zip(self.names.all(), self.addresses, strict=True):
            yield Symbol(line[1:], line[0], address)

    def at(self, address: int) -> Symbol | None:
        """Return the symbol at `address` or the nearest one below; the last of several there."""
        number = bisect_right(self.addresses, address) - 1
        if number < 0:
            return None
        name = self.names[number]
        return Symbol(name[1:], name[0], self.addresses[number])
