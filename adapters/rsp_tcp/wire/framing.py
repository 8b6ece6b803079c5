"""The framing of RSP: bytes in, events out, and no socket.

`PacketReader.feed` takes the bytes that have arrived and returns the events that are complete:
`Packet`, `Malformed`, or a `Signal` (ACK, NACK, INTERRUPT). Bytes outside packets are dropped, as
gdb and gdbserver do. No input raises an exception. Source: GDB manual, appendix "Remote Protocol",
"Overview".
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from kdump_gdbserver.adapters.rsp_tcp.wire.checksum import checksum

# The longest payload accepted from a client. Requests are short; the longest are writes and search
# patterns, which are no longer than the PacketSize that we announce.
MAX_PAYLOAD = 0x100000

# Bytes escaped at a time. malloc takes larger buffers from the kernel with mmap(2) and gives them
# back at once, which costs more than the escaping.
_AT_ONCE = 0x10000
# "}" escapes the next byte, which is sent xor 0x20. It is a number here because Python looks up a
# number in bytes four times as fast as a byte string.
_ESCAPE = ord("}")
_ESCAPED = re.compile(rb"}(.)", re.DOTALL)


@dataclass(slots=True)
class Packet:
    """A packet with a valid checksum, or one that is not verified; `payload` is unescaped."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """A packet that is too long, or whose checksum is wrong; then `payload` is what it says.

    Both ends may have agreed by then that checksums do not count: the packet that agrees on it
    can come in the same bytes.
    """

    reason: str
    payload: bytes | None = field(default=None, compare=False)


class Signal(enum.Enum):
    """What a client sends outside packets."""

    ACK = "+"
    NACK = "-"
    INTERRUPT = "\x03"


Event = Packet | Malformed | Signal

_START = ord("$")
_MARK = re.compile(rb"[#$]")  # the end of a payload; neither occurs in one unescaped
_SIGNALS = {ord("+"): Signal.ACK, ord("-"): Signal.NACK, 3: Signal.INTERRUPT}


def unescape(payload: bytes) -> bytes:
    """Undo the `}` escapes of a payload; a `}` at its very end is kept."""
    if _ESCAPE not in payload:
        return payload
    return _ESCAPED.sub(lambda match: bytes((match[1][0] ^ 0x20,)), payload)


def escape(data: bytes) -> bytes:
    """Escape binary data for a reply: `#`, `$`, `}` and `*` (GDB manual, "Binary Data")."""
    if len(data) > _AT_ONCE:
        pieces = range(0, len(data), _AT_ONCE)
        return b"".join([escape(data[start : start + _AT_ONCE]) for start in pieces])
    return (
        data.replace(b"}", b"}]")
        .replace(b"#", b"}\x03")
        .replace(b"$", b"}\x04")
        .replace(b"*", b"}\n")
    )


def escape_some(data: bytes, limit: int) -> bytes:
    """Escape as much of the data as fits into `limit` bytes."""
    return cut_escaped(escape(data), limit)


def cut_escaped(escaped: bytes, limit: int) -> bytes:
    """Cut escaped data to `limit` bytes, never within an escape. The data must have no runs."""
    if len(escaped) <= limit:
        return escaped
    # A "}" is always the first byte of an escape, so one at the cut has lost its second byte.
    return escaped[:limit].removesuffix(b"}")


def frame(payload: bytes) -> bytes:
    """Wrap a reply that is already escaped: `$payload#checksum`."""
    return b"$%b#%02x" % (payload, checksum(payload))


class PacketReader:
    """Assembles events from bytes; buffers no more than one packet."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # the part of an unfinished packet that has arrived
        self._searched = 0  # bytes of its payload already searched for a mark
        self._skipping = False  # inside a packet that was too long
        self.verify_checksums = True

    def feed_packet(self, data: bytes) -> bytes | None:
        """Return the payload if `data` is exactly one packet, which is nearly always so.

        Returns None otherwise, or if checksums are verified: then call `feed` with the same data.
        """
        if self.verify_checksums or self._buffer or self._skipping:
            return None
        end = len(data) - 3
        if data.find(b"#") != end or data.rfind(b"$") != 0 or not 0 < end <= MAX_PAYLOAD + 1:
            return None
        payload = data[1:-3]
        return unescape(payload) if _ESCAPE in payload else payload

    def feed(self, data: bytes) -> list[Event]:
        """Take `data` and return the events that are now complete, in order.

        They do not depend on how the stream is split into pieces.
        """
        payload = self.feed_packet(data)
        if payload is not None:
            return [Packet(payload)]
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        at = 0
        while at < len(buffer):
            if not self._skipping and buffer[at] != _START:
                signal = _SIGNALS.get(buffer[at])
                if signal is not None:
                    events.append(signal)
                at += 1
                continue
            start = at if self._skipping else at + 1
            mark = _MARK.search(buffer, start + self._searched)
            end = mark.start() if mark else len(buffer)
            self._searched = 0
            if self._skipping:
                self._skipping = mark is None
                at = end + 1 if mark and buffer[end] != _START else end
            elif end - start > MAX_PAYLOAD:
                self._skipping = True
                events.append(Malformed(f"packet longer than {MAX_PAYLOAD} bytes"))
                at = end
            elif mark is None:
                self._searched = end - start
                break
            elif buffer[end] == _START:
                at = end  # the peer abandoned a packet and started another
            elif end + 3 > len(buffer):
                break
            else:
                events.append(self._packet(start, end))
                at = end + 3
        del buffer[:at]
        return events

    def _packet(self, start: int, end: int) -> Event:
        payload = bytes(self._buffer[start:end])
        if self.verify_checksums:
            digits = bytes(self._buffer[end + 1 : end + 3])
            try:
                sent = int(digits, 16) if digits.isalnum() else -1
            except ValueError:
                sent = -1
            if sent != checksum(payload):
                reason = f"checksum is {checksum(payload):02x}, packet says {digits!r}"
                return Malformed(reason, unescape(payload))
        return Packet(unescape(payload))
