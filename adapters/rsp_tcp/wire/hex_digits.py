"""Memory as hex digits, two bytes at a time.

`bytes.hex` works byte by byte, and a large reply would spend most of its time there. Looking up
pairs of bytes in a table takes half as long.
"""

from __future__ import annotations

import functools
from typing import Any

# From this size on numpy is faster, even if it has to be imported.
LARGE = 8192


def hex_digits(data: bytes) -> bytes:
    """Return two lower-case hex digits for each byte."""
    size = len(data)
    if size < LARGE:
        return data.hex().encode()
    import numpy as np

    pairs = np.frombuffer(data, np.uint16, size // 2)
    # No index is out of range; "clip" saves numpy the check.
    digits = np.take(_table(), pairs, mode="clip").tobytes()
    return digits + data[-1:].hex().encode() if size % 2 else digits


def make_ready() -> None:
    """Import numpy and build the table now, so that the first large reply need not wait for it."""
    _table()


@functools.cache
def _table() -> Any:
    """Return the four digits of each pair of bytes, in this machine's byte order."""
    import numpy as np

    one = np.array([list(b"%02x" % byte) for byte in range(256)], np.uint8)
    pairs = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
    return one[pairs].reshape(-1, 4).view(np.uint32).reshape(-1)
