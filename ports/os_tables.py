"""OsTable: a table about the dumped system, for gdb's `info os`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class OsTable(NamedTuple):
    """A named table; `rows` makes its rows, each with a text for every column.

    `name` is the word after `info os`; `title` and `description` are for people.
    """

    name: str
    title: str
    description: str
    columns: Sequence[str]
    rows: Callable[[], Iterable[Sequence[str]]]
