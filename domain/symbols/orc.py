"""ORC: the kernel's own unwind tables for x86_64, exact for every text address.

Two tables of equal length lie in kernel memory, sorted by address. `__start_orc_unwind_ip`
has 32-bit offsets, each counted from the place where it stands; `__start_orc_unwind` has
the entries, 6 bytes each. Source: arch/x86/include/asm/orc_types.h and
arch/x86/kernel/unwind_orc.c, from Linux 4.14 on.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.kernel.orc import ROW, OrcFormat, OrcKind, OrcRegister

_IP_SIZE = 4
# Bounds on what damaged symbols can make us read: entries, and bytes of one function.
_MAX_SLICE = 1 << 16
_MAX_FUNCTION = 1 << 11
# Linux 7.3 has 511,000 entries.
_MAX_ENTRIES = 4 << 20

# (address of the first byte it holds for, sp_offset, bp_offset, flags)
RawEntry = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class OrcRow:
    """How to unwind from any address in [start, end).

    With `lost`, of the registers that functions keep, rbp alone is known.
    """

    start: int
    end: int
    kind: OrcKind
    sp_register: OrcRegister = OrcRegister.UNDEFINED
    sp_offset: int = 0
    bp_register: OrcRegister = OrcRegister.UNDEFINED
    bp_offset: int = 0
    lost: bool = False


class OrcTables:
    """The two tables, read where needed and never as a whole."""

    def __init__(self, memory: AddressSpace, ips: tuple[int, int], entries: tuple[int, int]):
        """Take the tables' [start, stop) addresses; raise `ValueError` if they do not match."""
        self._memory = memory
        self._ips, self._entries = ips[0], entries[0]
        self._count = (ips[1] - ips[0]) // _IP_SIZE
        if self._count <= 0 or self._count * ROW.size != entries[1] - entries[0]:
            raise ValueError("the ORC tables differ in length")

    def slice(self, low: int, high: int) -> list[RawEntry]:
        """Return the entries that say something about [low, high), in order of address.

        Raises `MemoryFault` when they cannot be read, `ValueError` when there are far too
        many or they are out of order.
        """
        first, stop = max(self._index(low) - 1, 0), self._index(high - 1)
        return self._read(first, min(stop - first, _MAX_SLICE + 1))

    def whole(self) -> tuple[list[int], bytes]:
        """Return the addresses from which on the entries hold, and all entries.

        Raises as `slice` does.
        """
        if self._count > _MAX_ENTRIES:
            raise ValueError(f"{self._count} ORC entries")
        raw = array("i", self._memory.read_exact(self._ips, _IP_SIZE * self._count))
        if sys.byteorder == "big":
            raw.byteswap()
        places = range(self._ips, self._ips + _IP_SIZE * self._count, _IP_SIZE)
        addresses = [place + ip for place, ip in zip(places, raw, strict=True)]
        if sorted(addresses) != addresses:
            raise ValueError("ORC entries out of order")
        return addresses, self._memory.read_exact(self._entries, ROW.size * self._count)

    def function(self, start: int, orc_format: OrcFormat) -> list[OrcRow]:
        """Return the rows from `start` on up to where nothing is known any more.

        Such an entry follows each function that padding follows. Raises as `slice` does.
        """
        rows: list[OrcRow] = []
        limit = start + _MAX_FUNCTION
        for row in to_rows(self.slice(start, limit), start, limit, orc_format):
            if row.kind is OrcKind.UNDEFINED:
                return rows
            rows.append(row)
        raise ValueError(f"no end to the function at {start:#x}")

    def _index(self, address: int) -> int:
        """Return how many entries start at or below an address (a binary search)."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            at = self._ips + _IP_SIZE * middle
            raw = self._memory.read_exact(at, _IP_SIZE)
            if at + int.from_bytes(raw, "little", signed=True) <= address:
                low = middle + 1
            else:
                high = middle
        return low

    def _read(self, first: int, count: int) -> list[RawEntry]:
        if count <= 0:
            return []
        if count > _MAX_SLICE:
            raise ValueError(f"{count} ORC entries")
        at = self._ips + _IP_SIZE * first
        ips = struct.unpack(f"<{count}i", self._memory.read_exact(at, _IP_SIZE * count))
        raw = self._memory.read_exact(self._entries + ROW.size * first, ROW.size * count)
        found = [
            (at + _IP_SIZE * number + ip, *entry)
            for number, (ip, entry) in enumerate(zip(ips, ROW.iter_unpack(raw), strict=True))
        ]
        if any(a[0] > b[0] for a, b in pairwise(found)):
            raise ValueError("ORC entries out of order")
        return found


def to_rows(
    entries: Sequence[RawEntry], low: int, high: int, orc_format: OrcFormat
) -> list[OrcRow]:
    """Decode entries into rows clipped to [low, high); what cannot be decoded is UNDEFINED.

    Of entries for one address the last one counts, as for the kernel.
    """
    ends = [entry[0] for entry in entries[1:]]
    clipped = (
        (max(entry[0], low), min(end, high), entry)
        for entry, end in zip(entries, (*ends, high), strict=False)
    )
    return [_row(start, end, entry, orc_format) for start, end, entry in clipped if start < end]


def _row(start: int, end: int, entry: RawEntry, orc_format: OrcFormat) -> OrcRow:
    _, sp_offset, bp_offset, flags = entry
    kind = orc_format.kind(flags) or OrcKind.UNDEFINED
    if kind in (OrcKind.UNDEFINED, OrcKind.END_OF_STACK):
        return OrcRow(start, end, kind)
    sp_register, bp_register = orc_format.sp_register(flags), orc_format.bp_register(flags)
    if sp_register is None or bp_register is None:
        return OrcRow(start, end, OrcKind.UNDEFINED)
    return OrcRow(start, end, kind, sp_register, sp_offset, bp_register, bp_offset)
