"""Reading long stretches of kernel memory that have holes."""

from __future__ import annotations

from collections.abc import Iterator

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault

_PIECE = 4 << 20
_SMALLEST_STEP, _LARGEST_STEP = 1 << 12, 2 << 20


def readable_pieces(
    memory: AddressSpace, start: int, end: int, overlap: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Iterate over what can be read from `start` to `end`, as addresses and bytes.

    Each piece repeats the last `overlap` bytes of the one before, unless a hole is between
    them. Holes are passed in steps of a page at first, in longer ones later: up to 2 MiB,
    to which kernels are aligned.
    """
    at, step = start, _SMALLEST_STEP
    kept = b""
    while at < end:
        try:
            data = memory.read(at, min(_PIECE, end - at))
        except MemoryFault:
            at += step - at % step
            step = min(2 * step, _LARGEST_STEP)
            kept = b""
            continue
        step = _SMALLEST_STEP
        yield at - len(kept), kept + data
        at += len(data)
        kept = (kept + data)[-overlap:] if overlap else b""


def readable_before(memory: AddressSpace, end: int, length: int) -> bytes:
    """Return the bytes that end at `end`: `length` of them, or fewer if there is a hole."""
    pieces: list[bytes] = []
    at, piece = end, _PIECE
    while end - at < length and at > 0:
        size = min(piece, length - (end - at), at)
        try:
            pieces.append(memory.read_exact(at - size, size))
        except MemoryFault:
            if piece <= _SMALLEST_STEP:
                break
            piece //= 4
            continue
        at -= size
    return b"".join(reversed(pieces))
