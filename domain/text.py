"""Words of a dump, a path or a client, made fit to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` on one line: what cannot be printed, line ends too, as Python's escapes.

    That includes control characters and those that change the text direction, so that nothing in a
    dump can control a terminal or forge a line.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def printable_line(text: str) -> str:
    """Return what `printable` does, but with tabs, which tables and the kernel's log have."""
    return "\t".join(map(printable, text.split("\t")))
