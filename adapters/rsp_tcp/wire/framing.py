"""Bytes in, events out: the framing of RSP, with no socket in sight.

`PacketReader.feed` takes whatever bytes have come and returns the events they
complete: `Packet`, `Ack`, `Nack`, `Interrupt` or `Malformed`. Bytes that belong to
no packet are dropped, as gdb and gdbserver do. Any bytes whatever give events,
never an exception. Source: GDB manual, appendix "Remote Protocol", "Overview".
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from kdump_gdbserver.adapters.rsp_tcp.wire.checksum import checksum

# Longest payload taken from a client. Debuggers send short requests; the longest are
# writes and search patterns, which are no longer than the PacketSize we announce.
MAX_PAYLOAD = 0x100000

# So much is escaped at a time, in bytes. Larger copies would be given back to the kernel each
# time, and asked of it anew, which costs more than the escaping.
_AT_ONCE = 0x10000
# "}" says that the next byte is the meant one xor 0x20. Python finds a number in bytes four
# times as quickly as it finds bytes.
_ESCAPE = ord("}")
_ESCAPED = re.compile(rb"}(.)", re.DOTALL)


@dataclass(slots=True)
class Packet:
    """A packet whose checksum is right (or need not be); `payload` is unescaped."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """A packet that cannot be taken: wrong or no checksum, or too long."""

    reason: str


class Signal(enum.Enum):
    """What a client sends outside packets."""

    ACK = "+"
    NACK = "-"
    INTERRUPT = "\x03"


Event = Packet | Malformed | Signal

_START = ord("$")
_MARK = re.compile(rb"[#$]")  # where a payload ends; neither stands in one unescaped
_SIGNALS = {ord("+"): Signal.ACK, ord("-"): Signal.NACK, 3: Signal.INTERRUPT}


def unescape(payload: bytes) -> bytes:
    """Undo the `}` escapes of a payload; a lone `}` at the end stays."""
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
    """Cut escaped data that has no runs, so that it still stands for whole bytes."""
    if len(escaped) <= limit:
        return escaped
    # No byte stands for itself after a "}", so that one at the cut has lost what it escapes.
    return escaped[:limit].removesuffix(b"}")


def frame(payload: bytes) -> bytes:
    """Wrap a reply that is already escaped: `$payload#checksum`."""
    return b"$%b#%02x" % (payload, checksum(payload))


class PacketReader:
    """Collects bytes until they make up events; holds no more than one packet's worth."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # what of an unfinished packet has come
        self._searched = 0  # so many bytes of its payload hold no mark
        self._skipping = False  # inside a packet that was too long
        self.verify_checksums = True

    def feed_packet(self, data: bytes) -> bytes | None:
        """Take `data` if it is one whole packet alone, as nearly always; return its payload.

        None means that it has to be fed by `feed`. Checksums that have to be verified are left
        to that, too.
        """
        if self.verify_checksums or self._buffer or self._skipping:
            return None
        end = len(data) - 3
        if data.find(b"#") != end or data.rfind(b"$") != 0 or not 0 < end <= MAX_PAYLOAD + 1:
            return None
        payload = data[1:-3]
        return unescape(payload) if _ESCAPE in payload else payload

    def feed(self, data: bytes) -> list[Event]:
        """Take `data` and return the events that are complete now, in order.

        They do not depend on how the stream was cut into pieces.
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
                at = end  # the peer gave up a packet and began anew
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
                return Malformed(f"checksum is {checksum(payload):02x}, packet says {digits!r}")
        return Packet(unescape(payload))
