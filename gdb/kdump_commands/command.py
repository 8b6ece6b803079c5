"""What the commands share: errors as one line, progress, the tasks they begin with."""

import contextlib
import os
from typing import Iterator, List

import gdb

from ...domain.kernel.errors import KdumpError
from ...domain.kernel.snapshot import Snapshot, read_tasks
from .target import open_kernel


class Progress:
    """Tells how far a long walk is, on a terminal only."""

    STEP = 1000

    def __init__(self) -> None:
        self.shown = False
        self.wanted = os.isatty(1)

    def __call__(self, count: int) -> None:
        if self.wanted and count % self.STEP == 0:
            gdb.write("\r%d tasks... " % count)
            gdb.flush()
            self.shown = True

    def done(self) -> None:
        if self.shown:
            gdb.write("\r\033[K")
            self.shown = False


@contextlib.contextmanager
def c_expressions() -> Iterator[None]:
    """Let gdb read expressions as C, whatever language the selected frame is written in."""
    before = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        yield
    finally:
        gdb.execute("set language %s" % before, to_string=True)


def take_snapshot() -> Snapshot:
    """Read the kernel's tasks, showing progress."""
    progress = Progress()
    try:
        return read_tasks(open_kernel(), progress)
    finally:
        progress.done()


def report(problems: List[str]) -> None:
    """Show each problem as one line."""
    for problem in problems:
        gdb.write("warning: %s\n" % problem, gdb.STDERR)


class Command(gdb.Command):  # type: ignore[misc]
    """What the commands share: their words, and every failure as one line."""

    def invoke(self, argument: str, from_tty: bool) -> None:
        self.dont_repeat()
        try:
            with c_expressions():
                self.run(gdb.string_to_argv(argument))
        except (KdumpError, gdb.error) as error:
            raise gdb.GdbError(" ".join(str(error).split())) from None
