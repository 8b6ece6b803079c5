"""Bytes of the dumped kernel, and the members of a structure in them."""

import struct
from typing import Any, Callable, Dict, List, Optional, Tuple

from .types import Member

CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # of the struct module, by size


class Memory:
    """The kernel's virtual memory.

    `fetch(address, size)` returns exactly `size` bytes or raises Unreadable; `clean` takes
    an address as a pointer holds it to the address itself (see `Arch.clean_pointer`).
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
        self.mark = "<" if byte_order == "little" else ">"  # of the struct module
        self.pointer_size = pointer_size
        self.clean = clean or (lambda address: address)

    def fetch(self, address: int, size: int) -> bytes:
        """Return `size` bytes; raise Unreadable if one of them is not there."""
        return self._fetch(address % 2**64, size)  # a bad pointer minus an offset may be negative

    def integer(self, address: int, size: int) -> int:
        """Return the unsigned integer of `size` bytes at `address`."""
        return int.from_bytes(self.fetch(address, size), self.byte_order)

    def pointer(self, address: int) -> int:
        """Return the address that the pointer at `address` holds."""
        return self.clean(self.integer(address, self.pointer_size))

    def string(self, address: int, limit: int = 4096) -> bytes:
        """Return the bytes from `address` up to a NUL, at most `limit`.

        Never reads beyond the page that holds the NUL.
        """
        text = b""
        while len(text) < limit:
            at = address + len(text)
            text += self.fetch(at, min(128, 128 - at % 128))
            if b"\0" in text:
                break
        return text.split(b"\0", 1)[0][:limit]

    def words(self, address: int, count: int) -> List[int]:
        """Return `count` unsigned integers of pointer size from `address` on."""
        return self.split(self.fetch(address, self.pointer_size * count))

    def split(self, data: bytes) -> List[int]:
        """Return the unsigned integers of pointer size in `data`."""
        count = len(data) // self.pointer_size
        return list(
            struct.unpack_from("%s%d%s" % (self.mark, count, CODES[self.pointer_size]), data)
        )


class Layout:
    """The members of a structure that we read, all in one request to the memory.

    One large read is much cheaper than one small read for each member: in gdb each read is a
    packet to the server and back.
    """

    def __init__(self, size: int, members: Dict[str, Member]) -> None:
        self.size = size
        self.members = members
        self.low = min(m.offset for m in members.values())
        self.high = max(m.offset + m.size for m in members.values())
        self._steps: Dict[str, List[Tuple[List[str], struct.Struct]]] = {}  # by byte order
        self._pointers = [name for name, m in members.items() if m.kind == "pointer"]
        self._odd = [name for name, m in members.items() if not self._fits(m)]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def offset(self, name: str) -> int:
        """Return where a member begins, in bytes."""
        return self.members[name].offset

    def read(self, memory: Memory, address: int) -> Dict[str, Any]:
        """Return {member: value} of the structure at `address`; arrays come as bytes."""
        data = memory.fetch(address + self.low, self.high - self.low)
        return self.decode(memory, data)

    def decode(self, memory: Memory, data: bytes) -> Dict[str, Any]:
        """Return the same from `data`, which begins with the first byte of the first member."""
        if memory.mark not in self._steps:
            self._steps[memory.mark] = self._plan(memory.mark)
        values: Dict[str, Any] = {}
        for names, step in self._steps[memory.mark]:
            values.update(zip(names, step.unpack_from(data)))
        for name in self._odd:
            values[name] = int.from_bytes(values[name], memory.byte_order)
        for name in self._pointers:
            values[name] = memory.clean(values[name])
        return values

    @staticmethod
    def _fits(member: Member) -> bool:
        """Whether the struct module has a code for such members."""
        return member.kind == "bytes" or member.size in CODES

    def _plan(self, mark: str) -> List[Tuple[List[str], struct.Struct]]:
        """Return steps that unpack all members; more than one where they overlap (a union)."""
        steps = []
        left = sorted(self.members.items(), key=lambda item: item[1].offset)
        while left:
            names: List[str] = []
            overlapping = []
            code, end = mark, self.low
            for name, member in left:
                if member.offset < end:
                    overlapping.append((name, member))
                    continue
                number = member.kind != "bytes" and self._fits(member)
                code += "%dx" % (member.offset - end)
                code += CODES[member.size] if number else "%ds" % member.size
                names.append(name)
                end = member.offset + member.size
            steps.append((names, struct.Struct(code)))
            left = overlapping
        return steps


def printable(raw: bytes) -> str:
    """Return a kernel string as text; bytes that are not printable UTF-8 become \\xNN."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else "".join("\\x%02x" % b for b in c.encode("utf-8", "replace"))
        for c in text
    )
