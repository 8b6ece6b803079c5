"""The packet checksum: the sum of all bytes modulo 256 (GDB manual, "Overview").

A Python `sum` over a large reply costs more than everything else a reply needs, so
large ones are summed by numpy, imported when the first of them comes.
"""

from __future__ import annotations

# Below this many bytes `sum` is quicker than going through numpy.
_SMALL = 512


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the sum of all bytes of `data` modulo 256."""
    if len(data) < _SMALL:
        return sum(data) & 0xFF
    import numpy as np

    # Adding in uint8 wraps around at 256, which is just what is asked for.
    return int(np.add.reduce(np.frombuffer(data, dtype=np.uint8), dtype=np.uint8))
