"""Words of a dump, a path or a client, made fit to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` on one line: what cannot be printed, line ends too, as Python's escapes.

    Control characters and those that turn the direction of writing are among them, so that
    nothing a dump says can steer a terminal or forge a line.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
