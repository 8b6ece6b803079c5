"""The packet checksum: the sum of all bytes modulo 256 (GDB manual, "Overview").

A Python `sum` over a reply costs more than everything else that it needs. Large ones are
summed by numpy, imported when the first of them comes; for small ones there is Adler-32,
whose lower half is the sum of all bytes modulo 65521 when it starts from 0 (RFC 1950).
"""

from __future__ import annotations

from zlib import adler32

# So many bytes cannot add up to 65521.
_EXACT = 256
# From here on numpy is worth its calls, and worth being imported.
_LARGE = 2 * 8192


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the sum of all bytes of `data` modulo 256."""
    size = len(data)
    if size <= _EXACT:
        return adler32(data, 0) & 0xFF
    if size < _LARGE:
        return sum(adler32(data[at : at + _EXACT], 0) for at in range(0, size, _EXACT)) & 0xFF
    import numpy as np

    # Adding in uint8 wraps around at 256, which is just what is asked for.
    return int(np.add.reduce(np.frombuffer(data, dtype=np.uint8), dtype=np.uint8))
