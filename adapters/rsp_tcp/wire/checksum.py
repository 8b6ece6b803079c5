"""The packet checksum: the sum of all bytes modulo 256 (GDB manual, "Overview").

Python's `sum` over a reply would cost more than the rest of the work on it. Large replies are
summed by numpy, which is imported with the first of them. Small ones use Adler-32: started from 0,
its lower half is the sum of all bytes modulo 65521 (RFC 1950).
"""

from __future__ import annotations

from zlib import adler32

# The sum of this many bytes is below 65521.
_EXACT = 256
# From this size on numpy is faster, even if it has to be imported.
_LARGE = 2 * 8192


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the sum of all bytes of `data` modulo 256."""
    size = len(data)
    if size <= _EXACT:
        return adler32(data, 0) & 0xFF
    if size < _LARGE:
        return sum(adler32(data[at : at + _EXACT], 0) for at in range(0, size, _EXACT)) & 0xFF
    import numpy as np

    # Addition in uint8 wraps at 256.
    return int(np.add.reduce(np.frombuffer(data, dtype=np.uint8), dtype=np.uint8))
