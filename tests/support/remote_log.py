"""Reads what gdb prints under `set debug remote 1`."""

from __future__ import annotations

import re

_SENT = re.compile(r"Sending packet: \$(.*?)(?:#[0-9a-f]{2})?(?:\.\.\.)?$")
_RECEIVED = re.compile(r"Packet received: ?(.*)")
# Packets that have no reply by the protocol's rules.
_NO_REPLY = ("k", "R")


def exchanges(text: str) -> list[tuple[str, str | None]]:
    """Return each packet sent with the reply that followed, None where none did."""
    found: list[tuple[str, str | None]] = []
    for line in text.splitlines():
        sent = _SENT.search(line)
        if sent is not None and not sent[1].startswith(_NO_REPLY):
            found.append((sent[1], None))
        received = _RECEIVED.search(line)
        if received is not None and found:
            found[-1] = (found[-1][0], received[1])
    return found
