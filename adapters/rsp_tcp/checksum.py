"""The packet checksum: the sum of all bytes modulo 256 (GDB manual, "Overview").

A Python `sum` over a large reply costs more than everything else a reply needs, so
large ones are summed by numpy, imported when the first of them comes.
"""

from __future__ import annotations

import sys

# Below this many bytes `sum` is quicker than going through numpy; and below this many it
# is quicker than importing numpy, which takes a tenth of a second.
_SMALL, _LARGE = 512, 2 * 8192


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the sum of all bytes of `data` modulo 256."""
    size = len(data)
    if size < _SMALL or (size < _LARGE and "numpy" not in sys.modules):
        return sum(data) & 0xFF
    import numpy as np

    # Adding in uint8 wraps around at 256, which is just what is asked for.
    return int(np.add.reduce(np.frombuffer(data, dtype=np.uint8), dtype=np.uint8))
