"""Library: a shared library of a process, for a debugger that cannot find it by itself."""

from __future__ import annotations

from typing import NamedTuple


class Library(NamedTuple):
    """A library as the dynamic linker would list it; addresses are the process's.

    `path` is that of its file on the dumped machine, `offset` what was added to the file's
    addresses, `dynamic` where its dynamic section is.
    """

    path: str
    offset: int
    dynamic: int
