"""AddressSpace: the one way anything reads memory of the dumped machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from kdump_gdbserver.domain.errors import FaultReason, MemoryFault

ByteOrder = Literal["little", "big"]


class AddressSpace(ABC):
    """Bytes by address: kernel virtual, physical, or one process's virtual memory.

    An implementation has to provide `read`; the rest is built on it. An address
    space belongs to one thread of control at a time.
    """

    @abstractmethod
    def read(self, address: int, length: int) -> bytes:
        """Return the readable bytes from `address` on, at most `length` of them.

        Fewer bytes than asked mean that the next one cannot be read. Raises
        `MemoryFault` when not even the first byte can. A `length` of 0 gives `b""`.
        """

    def read_exact(self, address: int, length: int) -> bytes:
        """Return exactly `length` bytes; raise `MemoryFault` at the first hole."""
        data = self.read(address, length)
        if len(data) < length:
            self.read(address + len(data), length - len(data))  # raises, with the true reason
            raise MemoryFault(address + len(data), FaultReason.UNMAPPED)
        return data

    def read_uint(self, address: int, size: int, byte_order: ByteOrder) -> int:
        """Return the unsigned integer of `size` bytes at `address`."""
        return int.from_bytes(self.read_exact(address, size), byte_order)

    def read_cstring(self, address: int, limit: int) -> bytes:
        """Return the bytes up to (without) a NUL, at most `limit`, or up to a hole."""
        return self.read(address, limit).split(b"\0", 1)[0]


class SegmentedAddressSpace(AddressSpace):
    """An address space made of named segments: `{address: bytes}`, in memory.

    For fakes, and for tools that hold memory of their own. Adjoining segments
    read as one; overlapping ones are refused with `ValueError`.
    """

    def __init__(
        self, segments: dict[int, bytes], hole: FaultReason = FaultReason.UNMAPPED
    ) -> None:
        self._segments = sorted((start, data) for start, data in segments.items() if data)
        self._hole = hole
        for (start, data), (following, _) in zip(self._segments, self._segments[1:], strict=False):
            if start + len(data) > following:
                raise ValueError(f"segments overlap at {following:#x}")

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`."""
        if length == 0:
            return b""
        parts: list[bytes] = []
        at, end = address, address + length
        for start, data in self._segments:
            if start <= at < start + len(data):
                part = data[at - start : end - start]
                parts.append(part)
                at += len(part)
                if at == end:
                    break
        if not parts:
            raise MemoryFault(address, self._hole)
        return b"".join(parts)


class OverlaidAddressSpace(AddressSpace):
    """An address space with one more piece of memory laid over it.

    `piece` is seen at `address` on, wherever `below` would have failed or not; choose an
    address that the dumped machine cannot map.
    """

    def __init__(self, below: AddressSpace, address: int, piece: bytes) -> None:
        self._below = below
        self._piece = piece
        self._start, self._end = address, address + len(piece)

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`; a read may run from one into the other."""
        if address >= self._end or address + length <= self._start:
            return self._below.read(address, length)
        data = self._read_run(address, length)
        while 0 < len(data) < length and address + len(data) in (self._start, self._end):
            try:
                data += self._read_run(address + len(data), length - len(data))
            except MemoryFault:
                break
        return data

    def _read_run(self, address: int, length: int) -> bytes:
        """Read up to where the piece starts or ends."""
        if self._start <= address < self._end:
            return self._piece[address - self._start :][:length]
        if address < self._start < address + length:
            length = self._start - address
        return self._below.read(address, length)
