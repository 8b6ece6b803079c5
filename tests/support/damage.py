"""Address spaces that are broken in various ways."""

from __future__ import annotations

import random
from collections.abc import Callable

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault

# Reads of random memory are cut to this many bytes, for the sake of time.
_MOST = 1 << 16


class Damaged(AddressSpace):
    """Memory whose reads go through `spoil(address, data)`, which may raise `MemoryFault`.

    What the sound memory does not have, reads as zeros before it is spoilt.
    """

    def __init__(self, below: AddressSpace, spoil: Callable[[int, bytes], bytes]) -> None:
        self._below = below
        self._spoil = spoil

    def read(self, address: int, length: int) -> bytes:
        if length == 0:
            return b""
        try:
            data = self._below.read(address, length)
        except MemoryFault:
            data = bytes(min(length, _MOST))
        return self._spoil(address, data)


def _fault(address: int, data: bytes) -> bytes:
    raise MemoryFault(address, FaultReason.CORRUPT)


def every_read_fails(below: AddressSpace) -> AddressSpace:
    return Damaged(below, _fault)


def filled_with(byte: int) -> Callable[[AddressSpace], AddressSpace]:
    return lambda below: Damaged(below, lambda _, data: bytes([byte]) * len(data))


def random_bytes(seed: int) -> Callable[[AddressSpace], AddressSpace]:
    return lambda below: Damaged(
        below, lambda address, data: random.Random(seed ^ address).randbytes(len(data))
    )


def some_reads_fail(seed: int, share: float) -> Callable[[AddressSpace], AddressSpace]:
    def spoil(address: int, data: bytes) -> bytes:
        return _fault(address, data) if random.Random(seed ^ address).random() < share else data

    return lambda below: Damaged(below, spoil)


def cut_short(share: float) -> Callable[[AddressSpace], AddressSpace]:
    """Give back the first `share` of what is asked, at least a byte."""
    return lambda below: Damaged(below, lambda _, data: data[: max(1, int(len(data) * share))])


def flipped_bits(seed: int, share: float) -> Callable[[AddressSpace], AddressSpace]:
    def spoil(address: int, data: bytes) -> bytes:
        dice = random.Random(seed ^ address)
        spoilt = bytearray(data)
        for _ in range(max(1, int(len(data) * share))):
            spoilt[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        return bytes(spoilt)

    return lambda below: Damaged(below, spoil)
