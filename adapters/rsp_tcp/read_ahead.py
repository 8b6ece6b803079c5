"""ReadAhead: the reply to the read that is likely to come next, made before it is asked for.

A debugger that saves or searches much memory reads on and on, and has as much to do with a
reply as the server had. While it is at it, the server need not wait: memory does not change.
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.replies import Data
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex_pair

# Reads of fewer bytes are not worth it: they are seldom one after the other.
_WORTH = 0x1000
_DIGITS = 4  # it takes to write that
_READS = frozenset(b"mx")
_COMMA = ord(",")


class ReadAhead:
    """Foresees one packet, and keeps its reply until the next packet comes."""

    __slots__ = ("_following", "_kept", "_payload", "wanted")

    def __init__(self) -> None:
        self.wanted = b""  # the packet to answer ahead; empty if there is none
        self._following = b""  # what would carry on with the last read
        self._payload = b""  # to which the reply is kept
        self._kept: tuple[Data, bytes] | None = None

    def keep(self, payload: bytes, reply: Data, frame: bytes) -> None:
        """Keep the reply to a packet, and the same in its frame."""
        self._payload, self._kept = payload, (reply, frame)

    def take(self, payload: bytes) -> tuple[Data, bytes] | None:
        """Return what was kept for this packet, and look where the packet leads."""
        kept = self._kept
        if kept is not None:
            self._kept = None
            if payload != self._payload:
                kept = None
        if not payload or payload[0] not in _READS or _COMMA in payload[-_DIGITS:]:
            self.wanted = self._following = b""
            return kept
        following = _following(payload)
        # Two reads one after the other: a third is likely.
        self.wanted = following if payload == self._following else b""
        self._following = following
        return kept


def _following(payload: bytes) -> bytes:
    """Return the packet that carries on with a read; nothing if it is a small one."""
    try:
        address, length = parse_hex_pair(payload[1:])
    except PacketError:
        return b""
    return b"%c%x,%x" % (payload[0], address + length, length) if length >= _WORTH else b""
