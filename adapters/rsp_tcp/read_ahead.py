"""ReadAhead: the reply to the read that is likely to come next, made before it is asked for.

A debugger that saves or searches much memory reads on and on, and has as much to do with a
reply as the server had. While it is at it, the server need not wait: memory does not change.
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex_pair

# Reads of fewer bytes are not worth it: they are seldom one after the other.
_WORTH = 0x1000
_DIGITS = 4  # it takes to write that
_READS = frozenset(b"mx")


class ReadAhead:
    """Foresees one packet, and keeps its reply until the next packet comes."""

    __slots__ = ("_following", "_frame", "_payload", "_reply", "wanted")

    def __init__(self) -> None:
        self.wanted = b""  # the packet to answer ahead; empty if there is none
        self._following = b""  # what would carry on with the last read
        self._payload = b""
        self._reply = b""
        self._frame = b""

    def keep(self, reply: bytes, frame: bytes) -> None:
        """Keep the reply to the wanted packet, and the same in its frame."""
        self._payload, self._reply, self._frame = self.wanted, reply, frame

    def take(self, payload: bytes) -> tuple[bytes, bytes] | None:
        """Return what was kept for this packet, and look where the packet leads."""
        kept = (self._reply, self._frame) if payload and payload == self._payload else None
        self._payload = self._reply = self._frame = b""
        following = _following(payload)
        # Two reads one after the other: a third is likely.
        self.wanted = following if payload == self._following else b""
        self._following = following
        return kept


def _following(payload: bytes) -> bytes:
    """Return the packet that carries on with a large read; nothing for any other packet."""
    if not payload or payload[0] not in _READS or b"," in payload[-_DIGITS:]:
        return b""
    try:
        address, length = parse_hex_pair(payload[1:])
    except PacketError:
        return b""
    return b"%c%x,%x" % (payload[0], address + length, length) if length >= _WORTH else b""
