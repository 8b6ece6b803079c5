"""Statistics of one connection: packets, bytes, and the time taken by answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

# The number of latencies kept, those of the last packets, from which percentiles are taken.
_REMEMBERED = 4096
_SHARES = (50, 90, 99)


class Statistics:
    """Counts exchanges, in far less than a microsecond each."""

    __slots__ = ("_latencies", "packets", "received", "sent")

    def __init__(self) -> None:
        self.packets = 0
        self.received = 0
        self.sent = 0
        self._latencies: deque[int] = deque(maxlen=_REMEMBERED)

    def count(self, received: int, sent: int, nanoseconds: int) -> None:
        """Count one packet, with the bytes of its payload and its reply's, and its time."""
        self.packets += 1
        self.received += received
        self.sent += sent
        self._latencies.append(nanoseconds)

    def percentile(self, share: int) -> int:
        """Return the time in nanoseconds within which `share` percent of packets were answered."""
        ordered = sorted(self._latencies)
        if not ordered:
            return 0
        return ordered[min(len(ordered) * share // 100, len(ordered) - 1)]

    def lines(self) -> Iterator[str]:
        """Yield the figures as lines of text."""
        yield f"packets received: {self.packets}"
        yield f"payload bytes received: {self.received}"
        yield f"payload bytes sent: {self.sent}"
        shown = ", ".join(f"p{share} {self.percentile(share) / 1000:.1f}" for share in _SHARES)
        longest = max(self._latencies, default=0) / 1000
        yield f"time to answer in microseconds: {shown}, longest {longest:.1f}"
        if self.packets > _REMEMBERED:
            yield f"(times are of the last {_REMEMBERED} packets)"
