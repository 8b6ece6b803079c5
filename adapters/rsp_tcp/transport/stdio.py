"""A client on standard input and output, as gdb's `target remote | COMMAND` makes it."""

from __future__ import annotations

import os

STDIN, STDOUT, STDERR = 0, 1, 2


def take_standard_output() -> int:
    """Return a descriptor of standard output and redirect descriptor 1 to standard error.

    So only RSP reaches the client, even if a C library prints something.
    """
    ours = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return ours
