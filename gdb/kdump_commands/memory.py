"""Bytes of the target, and where a structure keeps its members."""

from typing import Any, Callable, Dict, List, Optional

USER_END = 1 << 63  # user addresses are below, kernel ones above


class Memory:
    """The target's memory.

    `fetch(address, size)` returns exactly `size` bytes or raises Unreadable; `clean` takes
    an address as a pointer holds it to the address itself (see Aarch64.clean).
    """

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        byte_order: Any = "little",
        pointer_size: int = 8,
        clean: Optional[Callable[[int], int]] = None,
    ) -> None:
        self._fetch = fetch
        self.byte_order = byte_order
        self.pointer_size = pointer_size
        self.clean = clean or (lambda address: address)

    def fetch(self, address: int, size: int) -> bytes:
        return self._fetch(address % 2**64, size)  # a bad pointer less an offset may be negative

    def integer(self, address: int, size: int) -> int:
        return int.from_bytes(self.fetch(address, size), self.byte_order)

    def pointer(self, address: int) -> int:
        return self.clean(self.integer(address, self.pointer_size))

    def string(self, address: int, limit: int = 4096) -> bytes:
        """The bytes from `address` up to a NUL, at most `limit`.

        Never asks for a byte of the page behind the one that holds the NUL.
        """
        text = b""
        while len(text) < limit:
            at = address + len(text)
            text += self.fetch(at, min(128, 128 - at % 128))
            if b"\0" in text:
                break
        return text.split(b"\0", 1)[0][:limit]

    def words(self, address: int, count: int) -> List[int]:
        """`count` unsigned integers of pointer size from `address` on."""
        return self.split(self.fetch(address, self.pointer_size * count))

    def split(self, data: bytes) -> List[int]:
        """The unsigned integers of pointer size in `data`."""
        size = self.pointer_size
        return [
            int.from_bytes(data[at : at + size], self.byte_order)
            for at in range(0, len(data) - size + 1, size)
        ]


class Member:
    """Where one member lies: `offset` and `size` in bytes; `kind` is int, pointer or bytes."""

    __slots__ = ("kind", "offset", "size")

    def __init__(self, offset: int, size: int, kind: str = "int") -> None:
        self.offset = offset
        self.size = size
        self.kind = kind


class Layout:
    """The members of a structure that we read, all in one request to the target.

    One large read is much cheaper than one small read for each member: each read is a packet to
    the server and back.
    """

    def __init__(self, size: int, members: Dict[str, Member]) -> None:
        self.size = size
        self.members = members
        self.low = min(m.offset for m in members.values())
        self.high = max(m.offset + m.size for m in members.values())

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def offset(self, name: str) -> int:
        return self.members[name].offset

    def read(self, memory: Memory, address: int) -> Dict[str, Any]:
        """{member: value} of the structure at `address`; arrays come as bytes."""
        data = memory.fetch(address + self.low, self.high - self.low)
        return self.decode(memory, data)

    def decode(self, memory: Memory, data: bytes) -> Dict[str, Any]:
        """The same from `data`, which begins with the first byte of the first member."""
        values: Dict[str, Any] = {}
        for name, member in self.members.items():
            start = member.offset - self.low
            piece = data[start : start + member.size]
            if member.kind == "bytes":
                values[name] = piece
            else:
                number = int.from_bytes(piece, memory.byte_order)
                values[name] = memory.clean(number) if member.kind == "pointer" else number
        return values


def printable(raw: bytes) -> str:
    """A kernel string as text: what is not printable (nor UTF-8) becomes \\xNN."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else "".join("\\x%02x" % b for b in c.encode("utf-8", "replace"))
        for c in text
    )
