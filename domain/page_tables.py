"""PageTables: virtual addresses to physical ones, by the dumped machine's own page tables."""

import array
import sys
import threading
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Tuple
from typing import Union as Either

from .address_space import AddressSpace, ByteOrder
from .arch.paging import NOWHERE, Decoded, EntryKind, TableForm
from .errors import FaultReason, MemoryFault
from .page_walk import PageWalk, TableEntry

# Tables kept for all address spaces of a dump together.
TABLE_BYTES_KEPT = 16 << 20
# Lowest tables, and large pages, that one address space finds without a walk.
LEAVES_REMEMBERED = 512

_ENTRY_SIZE = 8
_NO_TABLE = "Virtual address too big"
# By level: what is missing, and in which table the entry is that says so.
_WORDS = {
    1: ("Page", "pte"),
    2: ("Page table", "pmd"),
    3: ("Page directory", "pud"),
    4: ("PDPT table", "p4d"),
    5: ("PML4 table", "pgd"),
}

if TYPE_CHECKING:
    Table = array.array[int]  # novm
else:
    Table = array.array


class Translator:
    """Finds the physical addresses of virtual ones; `page_size` is in bytes."""

    page_size: int

    def run(self, address: int, end: int) -> Tuple[int, int]:
        """Return the physical address of `address`, and how many bytes adjoin there.

        That is one at least, and no more than up to `end`. Raises `MemoryFault` when there is
        none, `ValueError` when the dump is closed.
        """
        raise NotImplementedError


class TableCache:
    """The tables read last, by physical address; shared by the address spaces of a dump.

    A dump does not change, so nothing here grows stale.
    """

    def __init__(self) -> None:
        self._tables: Dict[int, Table] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self.get = self._tables.get  # safe without the lock: atomic under the GIL

    def put(self, address: int, table: Table) -> None:
        """Keep a table; the oldest ones go when there are too many."""
        with self._lock:
            if address in self._tables:
                return
            self._bytes += len(table) * _ENTRY_SIZE
            while self._bytes > TABLE_BYTES_KEPT and self._tables:
                oldest = self._tables.pop(next(iter(self._tables)))
                self._bytes -= len(oldest) * _ENTRY_SIZE
            self._tables[address] = table


def _of_kernel(decode: Callable[[int, int], Decoded]) -> Callable[[int, int], Decoded]:
    """Return what tells of the kernel's entries; no page of it is swapped out or hidden."""

    def decode_kernel(entry: int, level: int) -> Decoded:
        found = decode(entry, level)
        return NOWHERE if found[0] in (EntryKind.HIDDEN, EntryKind.SWAPPED) else found

    return decode_kernel


class PageTables(Translator):
    """The page tables of the kernel or of one process, below the top table at `root`.

    `root` is a physical address, and `physical` the machine's memory. `upper` says that it is
    the kernel's half that is looked at: the kernel has no page swapped out, nor hidden from the
    hardware. A walk takes as many steps
    as there are levels, wherever the entries of a damaged dump may lead.
    """

    def __init__(
        self,
        form: TableForm,
        root: int,
        physical: AddressSpace,
        byte_order: ByteOrder = "little",
        *,
        upper: bool = True,
        cache: Optional[TableCache] = None,
    ) -> None:
        self.form = form
        self.root = root
        self.page_size = form.page_size
        self._physical = physical
        self._byte_order: ByteOrder = form.byte_order or byte_order
        self._upper = upper
        self._decode = _of_kernel(form.decode) if upper else form.decode
        self._cache = cache or TableCache()
        # By address without the bits that a lowest table looks at: that table, or the physical
        # address where a large page has the first byte of them.
        self._leaves: Dict[int, Either[Table, int]] = {}
        self._leaf_shift = form.page_shift + form.widths[0]
        self._shifts = tuple(form.shift(level) for level in range(1, form.levels + 1))

    def run(self, address: int, end: int) -> Tuple[int, int]:
        """See `Translator.run`; reads each table once, and whole."""
        leaf = self._leaves.get(address >> self._leaf_shift)
        if leaf is None:
            leaf = self._find_leaf(address)
            if leaf is None:
                return self._translate(address), 1
        form = self.form
        if isinstance(leaf, int):
            inside = address & (1 << self._leaf_shift) - 1
            return leaf + inside, min(end - address, (1 << self._leaf_shift) - inside)
        index = address >> form.page_shift & (1 << form.widths[0]) - 1
        if index >= len(leaf):
            return self._translate(address), 1
        entry = leaf[index]
        kind, start, size = self._decode(entry, 1)
        if kind is not EntryKind.PAGE and kind is not EntryKind.HIDDEN:
            return self._translate(address), 1
        inside = address % size
        stop = address - inside + size
        if stop < end and kind is EntryKind.PAGE and size == form.page_size:
            mask, step = form.run_mask, form.run_step
            wanted = (entry & mask) + step
            for following in leaf[index + 1 : index + 1 + (end - stop + size - 1) // size]:
                if following & mask != wanted:
                    break
                wanted += step
                stop += size
        return start + inside, min(stop, end) - address

    def walk(self, address: int) -> PageWalk:
        """Return the walk to an address; one that fails says so itself."""
        form = self.form
        window = form.window(address)
        if window is not None:
            size = window.end - window.start
            span = min(size & -size, window.start & -window.start or size)
            return PageWalk(address, (), span, window.physical + address - window.start)
        if not form.covers(address, self._upper):
            unmapped = FaultReason.UNMAPPED
            return PageWalk(address, (), 1 << form.bits - 1, None, None, unmapped, _NO_TABLE)
        entries: List[TableEntry] = []
        table, span = self.root, 1 << form.bits
        for level in range(form.levels, 0, -1):
            index = self._index(address, level)
            place = table + _ENTRY_SIZE * index
            step = 1 << self._shifts[level - 1]
            try:
                entry = self._entry(table, level, index)
            except MemoryFault as fault:
                span = span if level == form.levels else step
                detail = f"the page table's entry at {fault.address:#x}"
                return PageWalk(address, tuple(entries), span, None, None, fault.reason, detail)
            entries.append(TableEntry(level, place, entry))
            kind, start, size = self._decode(entry, level)
            if kind is EntryKind.TABLE:
                table = start
                continue
            if kind is EntryKind.PAGE or kind is EntryKind.HIDDEN:
                return PageWalk(address, tuple(entries), step, start + address % size, size)
            break
        swapped = kind is EntryKind.SWAPPED
        reason = FaultReason.SWAPPED if swapped else FaultReason.UNMAPPED
        what, name = _WORDS[level]
        detail = f"{what} not present: {name}[{index}] = {entry:#x}"
        return PageWalk(address, tuple(entries), step, None, None, reason, detail)

    def _translate(self, address: int) -> int:
        """Return the physical address by a walk; raise `MemoryFault` with its words."""
        walk = self.walk(address)
        if walk.physical is None:
            raise MemoryFault(address, walk.fault or FaultReason.UNMAPPED, walk.detail)
        return walk.physical

    def _find_leaf(self, address: int) -> Optional[Either[Table, int]]:
        """Return the lowest table for an address or where its large page is, None for neither."""
        form, region = self.form, address >> self._leaf_shift
        first = region << self._leaf_shift
        window = form.window(address)
        if window is not None:
            if not window.start <= first < first + (1 << self._leaf_shift) <= window.end:
                return None
            return self._remember(region, window.physical + first - window.start)
        if not form.covers(address, self._upper):
            return None
        table = self.root
        try:
            for level in range(form.levels, 1, -1):
                entry = self._entry(table, level, self._index(address, level))
                kind, table, size = self._decode(entry, level)
                if kind is EntryKind.PAGE or kind is EntryKind.HIDDEN:
                    return self._remember(region, table + first % size)
                if kind is not EntryKind.TABLE:
                    return None
            lowest = self._table(table, 1)
        except MemoryFault:
            return None
        return self._remember(region, lowest)

    def _remember(self, region: int, leaf: Either[Table, int]) -> Either[Table, int]:
        if not isinstance(leaf, int) and len(leaf) < 1 << self.form.widths[0]:
            return leaf  # a part of a table
        if len(self._leaves) >= LEAVES_REMEMBERED:
            self._leaves.clear()
        self._leaves[region] = leaf
        return leaf

    def _index(self, address: int, level: int) -> int:
        return address >> self._shifts[level - 1] & (1 << self.form.widths[level - 1]) - 1

    def _entry(self, address: int, level: int, index: int) -> int:
        """Return an entry of the table at `address`.

        Raises `MemoryFault` with the physical address of its first byte that is not there.
        """
        place = address + _ENTRY_SIZE * index
        try:
            table = self._table(address, level)
            if index < len(table):
                return table[index]
        except MemoryFault:
            pass
        raw = self._physical.read_exact(place, _ENTRY_SIZE)  # the table is not there whole
        return int.from_bytes(raw, self._byte_order)

    def _table(self, address: int, level: int) -> Table:
        """Return the entries of a table, those before a hole; raise `MemoryFault` if none is."""
        table = self._cache.get(address)
        if table is None or len(table) < 1 << self.form.widths[level - 1]:
            size = _ENTRY_SIZE << self.form.widths[level - 1]
            raw = self._physical.read(address, size)
            table = array.array("Q")
            table.frombytes(raw[: len(raw) // _ENTRY_SIZE * _ENTRY_SIZE])
            if self._byte_order != sys.byteorder:
                table.byteswap()
            if len(raw) == size:
                self._cache.put(address, table)
        return table
