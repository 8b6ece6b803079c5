"""Monitor: the commands that gdb's `monitor` has for a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol


class MonitorCommand(NamedTuple):
    """One command: its name, its arguments and a summary, for `monitor help`, and how to run it.

    `run` takes the words after the name and yields the output line by line, without line ends. It
    yields None where the next line takes long, so that the client can interrupt. It raises
    `InputError` for arguments that make no sense and `MemoryFault` for memory that cannot be read,
    at once or at any line.
    """

    name: str
    arguments: str
    summary: str
    run: Callable[[Sequence[str]], Iterator[str | None]]


class Monitor(Protocol):
    """The monitor commands of one session."""

    @property
    def commands(self) -> Sequence[MonitorCommand]:
        """The commands, in the order of the help."""
