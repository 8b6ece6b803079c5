"""Reading long stretches of kernel memory that have holes."""

from __future__ import annotations

from collections.abc import Iterator

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault

# Searching a piece holds up all other threads.
_PIECE = 1 << 18
# Holes are passed in steps of a page at first; within a kernel no piece of memory is smaller
# than 64 KiB, and each kernel begins at a multiple of 2 MiB or is larger than that.
_PAGE, _STEP, _LONG_STEP = 1 << 12, 64 << 10, 2 << 20
_LONG_HOLE = 8 << 20


def readable_pieces(
    memory: AddressSpace, start: int, end: int, overlap: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Iterate over what can be read from `start` to `end`, as addresses and bytes.

    Each piece repeats the last `overlap` bytes of the one before, unless a hole is between them.
    Pieces smaller than 64 KiB between two holes may be missed, and after a hole of 8 MiB those
    smaller than 2 MiB.
    """
    at, step, hole, unreadable = start, _PAGE, start, start
    kept = b""
    while at < end:
        try:
            data = memory.read(at, min(_PIECE, end - at))
        except MemoryFault:
            unreadable = at - at % _PAGE + _PAGE
            at += step - at % step
            step = min(2 * step, _STEP if at - hole < _LONG_HOLE else _LONG_STEP)
            kept = b""
            continue
        if at > unreadable:
            # It may have begun within the step.
            kept = kept or readable_before(memory, at, at - max(unreadable, hole))
        yield at - len(kept), kept + data
        at += len(data)
        kept = (kept + data)[-overlap:] if overlap else b""
        step, hole = _PAGE, at


def readable_before(memory: AddressSpace, end: int, length: int) -> bytes:
    """Return the bytes that end at `end`: `length` of them, or fewer if there is a hole."""
    pieces: list[bytes] = []
    at, piece = end, _PIECE
    while end - at < length and at > 0:
        size = min(piece, length - (end - at), at)
        try:
            pieces.append(memory.read_exact(at - size, size))
        except MemoryFault:
            if piece <= _PAGE:
                break
            piece //= 4
            continue
        at -= size
    return b"".join(reversed(pieces))
