"""PageWalk: how page tables translate an address, level by level."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kdump_gdbserver.domain.errors import FaultReason


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One step of a walk: the entry that was followed, or that ended the walk.

    `level` is 1 for the lowest table; `address` is the entry's physical address and
    `value` its contents.
    """

    level: int
    address: int
    value: int


@dataclass(frozen=True, slots=True)
class PageWalk:
    """A walk to `address` (virtual): its entries from the top table down.

    `physical` is where the byte is, and `page_size` (bytes) the size of its page; when the
    walk failed both are None and `fault` says why. `span` is how many bytes around the
    address, aligned to as many, the last entry stands for.
    """

    address: int
    entries: tuple[TableEntry, ...]
    span: int
    physical: int | None = None
    page_size: int | None = None
    fault: FaultReason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a page's bytes are: file, offset and length (bytes), and how they are stored."""

    path: str
    offset: int
    length: int
    stored: str


# Names that Linux gives the tables, by level.
LEVEL_NAMES = {1: "PTE", 2: "PMD", 3: "PUD", 4: "P4D", 5: "PGD"}


def level_name(level: int, levels: int) -> str:
    """Return Linux's name of a table, of `levels` in all; the top one is always the PGD."""
    return LEVEL_NAMES[5] if level == levels else LEVEL_NAMES.get(level, f"level {level}")


def flag_names(flags: Iterable[tuple[str, int]], value: int) -> list[str]:
    """Return the names of the flags that are set in a page-table entry."""
    return [name for name, bit in flags if value >> bit & 1]
