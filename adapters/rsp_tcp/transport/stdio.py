"""A client on standard input and output, as gdb's `target remote | COMMAND` makes it."""

from __future__ import annotations

import os

STDIN, STDOUT, STDERR = 0, 1, 2


def take_standard_output() -> int:
    """Return a descriptor of standard output and lead what else is printed to standard error.

    So nothing but RSP gets into the conversation, not even what a C library may print.
    """
    ours = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return ours
