"""Monitor: what a debugger's `monitor` command can ask of a view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class MonitorCommand(NamedTuple):
    """One command: its name, what may follow it, and what it shows, for `monitor help`."""

    name: str
    arguments: str
    summary: str


class Monitor(Protocol):
    """Answers monitor commands of one session."""

    @property
    def commands(self) -> Sequence[MonitorCommand]:
        """The commands there are, in the order of the help."""

    def run(self, name: str, arguments: Sequence[str]) -> Iterator[str | None]:
        """Yield a command's output line by line, without line ends.

        None says that the next line takes longer: a moment to see whether anybody still
        waits for it.
        Raises `LookupError` for an unknown command, right away or with the first line;
        `InputError` for arguments that make no sense, `MemoryFault` for memory that cannot
        be read.
        """
