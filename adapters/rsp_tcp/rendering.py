"""The form in which a client gets replies and the output of monitor commands."""

from __future__ import annotations

import errno

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    Data,
    Failed,
    NoReply,
    Ok,
    Refused,
    Reply,
    Unsupported,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import plain_text

# The most output of one monitor command that gdb gets, in bytes; the reply is twice as long.
MAX_OUTPUT = 0x1000000
_LEFT_OUT = b"(the rest is left out: this is more than a reply may hold)\n"
# Bytes of output in one `O` packet.
_PART = 0x1000


def payload_of(reply: Reply, client: Client) -> bytes | None:
    """Return the payload of a reply in the client's form, or None if nothing is sent."""
    match reply:
        case Ok():
            return b"OK"
        case Unsupported():
            return b""
        case NoReply():
            return None
        case Failed(text, code):
            return _error(text, code, client)
        case Refused(text):
            return _error(text, errno.EPERM, client) if client.lldb else _in_words(text)
        case bytes():
            return reply


def _error(text: str, code: int, client: Client) -> bytes:
    if client.error_messages:
        return _in_words(text)
    if client.error_strings:
        return b"E%02x;" % code + plain_text(text).hex().encode()
    return b"E%02x" % code


def _in_words(text: str) -> bytes:
    return b"E." + plain_text(text)


class Output:
    """The output of one monitor command.

    LLDB gets it in `O` packets as it comes; it prints nothing else as text. gdb gets it in the
    reply: when it is interrupted between two `O` packets it does not read the rest, and would take
    them for the replies to its next packets.
    """

    def __init__(self, client: Client) -> None:
        self._in_parts = client.lldb
        self._kept = bytearray()

    def add(self, text: str) -> list[bytes]:
        """Add a part of the output and return the payloads to send now."""
        raw = text.encode("utf-8", "replace")
        if not self._in_parts:
            self._kept += raw
            return []
        starts = range(0, len(raw), _PART)
        return [b"O" + raw[start : start + _PART].hex().encode() for start in starts]

    @property
    def full(self) -> bool:
        """Whether the output is longer than a reply may be."""
        return len(self._kept) > MAX_OUTPUT

    def end(self, reply: Reply) -> Reply:
        """Return the final reply: `reply`, or in place of `OK` the output that was kept."""
        if not self._kept or not isinstance(reply, Ok):
            return reply
        if self.full:
            del self._kept[self._kept.rfind(b"\n", 0, MAX_OUTPUT) + 1 :]
            self._kept += _LEFT_OUT
        return Data(self._kept.hex().encode())
