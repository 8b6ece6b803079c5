"""ReadAhead: prepares the reply to the read that is likely to come next.

A debugger that saves or searches much memory reads block after block, and spends as much time on a
reply as the server. The server uses that time for the next one; memory does not change.
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.replies import Data
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex_pair

# Reads of fewer bytes are seldom sequential.
_WORTH = 0x1000
_DIGITS = 4  # of that number in hex
_READS = frozenset(b"mx")
_COMMA = ord(",")


class ReadAhead:
    """Predicts one packet and keeps its reply until the next packet arrives."""

    __slots__ = ("_following", "_kept", "_payload", "wanted")

    def __init__(self) -> None:
        self.wanted = b""  # the packet to answer ahead; empty for none
        self._following = b""  # the packet that would continue the last read
        self._payload = b""  # the packet whose reply is kept
        self._kept: tuple[Data, bytes] | None = None

    def keep(self, payload: bytes, reply: Data, frame: bytes) -> None:
        """Keep the reply to a packet, and its frame."""
        self._payload, self._kept = payload, (reply, frame)

    def take(self, payload: bytes) -> tuple[Data, bytes] | None:
        """Return what was kept for this packet, and predict the next one."""
        kept = self._kept
        if kept is not None:
            self._kept = None
            if payload != self._payload:
                kept = None
        if not payload or payload[0] not in _READS or _COMMA in payload[-_DIGITS:]:
            self.wanted = self._following = b""
            return kept
        following = _following(payload)
        # After two sequential reads a third is likely.
        self.wanted = following if payload == self._following else b""
        self._following = following
        return kept


def _following(payload: bytes) -> bytes:
    """Return the packet that would continue a read; empty if the read is small."""
    try:
        address, length = parse_hex_pair(payload[1:])
    except PacketError:
        return b""
    return b"%c%x,%x" % (payload[0], address + length, length) if length >= _WORTH else b""
