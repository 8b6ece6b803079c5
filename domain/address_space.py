"""AddressSpace: the one way anything reads memory of the dumped machine."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Callable, Dict

from .errors import FaultReason, MemoryFault

if TYPE_CHECKING:  # Python 3.6 has no Literal
    from typing import Literal  # novm

    ByteOrder = Literal["little", "big"]
else:
    ByteOrder = str

USER_END = 1 << 63  # a process's addresses are below, the kernel's above


class AddressSpace(ABC):
    """Bytes by address: kernel virtual, physical, or one process's virtual memory.

    An implementation has to provide `read`; the rest is built on it. An address space belongs to
    one thread at a time.
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


def read_to_hole(piece: Callable[[int, int], bytes], address: int, length: int) -> bytes:
    """Return what `piece` gives from `address` on, one piece after the other, up to a hole.

    `piece(address, most)` returns one byte or more, up to `most`, or raises `MemoryFault`. Its
    fault is raised when there is not even a first byte.
    """
    data = piece(address, length)
    if len(data) >= length:
        return data
    parts = [data]
    at, end = address + len(data), address + length
    while at < end:
        try:
            parts.append(piece(at, end - at))
        except MemoryFault:
            break
        at += len(parts[-1])
    return b"".join(parts)


class SegmentedAddressSpace(AddressSpace):
    """An address space made of named segments: `{address: bytes}`, in memory.

    For fakes, and for tools that hold memory of their own. Adjoining segments
    read as one; overlapping ones are refused with `ValueError`.
    """

    def __init__(
        self, segments: Dict[int, bytes], hole: FaultReason = FaultReason.UNMAPPED
    ) -> None:
        self._segments = sorted((start, data) for start, data in segments.items() if data)
        self._hole = hole
        end = None
        for start, data in self._segments:
            if end is not None and end > start:
                raise ValueError(f"segments overlap at {start:#x}")
            end = start + len(data)

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`."""
        return read_to_hole(self._piece, address, length) if length > 0 else b""

    def _piece(self, address: int, length: int) -> bytes:
        for start, data in self._segments:
            if start <= address < start + len(data):
                return data[address - start : address - start + length]
        raise MemoryFault(address, self._hole)


class OverlaidAddressSpace(AddressSpace):
    """An address space with one more piece of memory laid over it.

    `piece` appears at `address`, whether `below` has memory there or not; choose an address that
    the dumped machine cannot map.
    """

    def __init__(self, below: AddressSpace, address: int, piece: bytes) -> None:
        self._below = below
        self._piece = piece
        self._start, self._end = address, address + len(piece)

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`; a read may run from one into the other."""
        if address >= self._end or address + length <= self._start:
            return self._below.read(address, length)
        return read_to_hole(self._read_run, address, length)

    def _read_run(self, address: int, length: int) -> bytes:
        """Read up to where the piece starts or ends."""
        if self._start <= address < self._end:
            at = address - self._start
            return self._piece[at : at + length]
        if address < self._start < address + length:
            length = self._start - address
        return self._below.read(address, length)
