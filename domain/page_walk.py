"""PageWalk: how page tables translate an address, level by level."""

from typing import Iterable, List, NamedTuple, Optional, Tuple

from .errors import FaultReason


class RootTable(NamedTuple):
    """Where a page table of the top level is.

    `address` is physical or, when `is_virtual`, one of the kernel's (mm->pgd).
    """

    address: int
    is_virtual: bool = False


class TableEntry(NamedTuple):
    """One step of a walk: the entry that was followed, or that ended the walk.

    `level` is 1 for the lowest table; `address` is the entry's physical address and
    `value` its contents.
    """

    level: int
    address: int
    value: int


class PageWalk(NamedTuple):
    """A walk to `address` (virtual): its entries from the top table down.

    `physical` is where the byte is, and `page_size` (bytes) the size of its page; when the
    walk failed both are None and `fault` says why. `span` is how many bytes around the
    address, aligned to as many, the last entry stands for. Without entries the address is one
    that the hardware maps without page tables, or that no page table can map.
    """

    address: int
    entries: Tuple[TableEntry, ...]
    span: int
    physical: Optional[int] = None
    page_size: Optional[int] = None
    fault: Optional[FaultReason] = None
    detail: str = ""


# Names that Linux gives the tables, by level.
LEVEL_NAMES = {1: "PTE", 2: "PMD", 3: "PUD", 4: "P4D", 5: "PGD"}


def level_name(level: int, levels: int) -> str:
    """Return Linux's name of a table, of `levels` in all; the top one is always the PGD."""
    return LEVEL_NAMES[5] if level == levels else LEVEL_NAMES.get(level, f"level {level}")


def flag_names(flags: Iterable[Tuple[str, int]], value: int) -> List[str]:
    """Return the names of the flags that are set in a page-table entry."""
    return [name for name, bit in flags if value >> bit & 1]
