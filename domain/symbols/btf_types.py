"""BTF as a source of types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.symbols.btf import HEADER_SIZE, MAGIC, VERSION, Btf, BtfMember, Kind
from kdump_gdbserver.domain.symbols.memory_scan import readable_pieces

_T = TypeVar("_T")

# The largest BTF that is read, in bytes. That of Linux 7.3 has 5 MiB.
MAX_BTF = 64 << 20
# How many things that look like a header are looked at.
_MAX_TRIES = 64

_KINDS_OF = {
    "struct": (Kind.STRUCT,),
    "union": (Kind.UNION,),
    "enum": (Kind.ENUM, Kind.ENUM64),
    "": (Kind.TYPEDEF, Kind.INT, Kind.FLOAT),
}
_MEMBER_KINDS = {
    Kind.PTR: "pointer",
    Kind.ARRAY: "bytes",
    Kind.STRUCT: "bytes",
    Kind.UNION: "bytes",
}


class BtfTypes(Types):
    """Sizes and members by BTF; it knows no symbols.

    Several types of one name are answered for as far as they agree. Damaged records are
    types that are not known.
    """

    def __init__(self, btf: Btf, pointer_size: int = 8) -> None:
        self.btf = btf
        self._pointer_size = pointer_size
        self._found: dict[str, list[int]] = {}

    def symbol(self, name: str) -> int | None:
        """See `Types.symbol`."""
        return None

    def size(self, type_name: str) -> int | None:
        """See `Types.size`."""
        return _agreed(self._types(type_name), lambda n: self.btf.size(n, self._pointer_size))

    def member(self, type_name: str, path: str) -> Member | None:
        """See `Types.member`."""
        return _agreed(self._types(type_name), lambda number: self._walk(number, path))

    def _types(self, type_name: str) -> list[int]:
        if type_name not in self._found:
            keyword, _, name = type_name.strip().rpartition(" ")
            kinds = _KINDS_OF.get(keyword)
            # An integer's name may have blanks itself: "long unsigned int".
            self._found[type_name] = (
                self.btf.find(name, *kinds) if kinds else self.btf.find(type_name, Kind.INT)
            )
        return self._found[type_name]

    def _walk(self, number: int, path: str) -> Member | None:
        offset = 0
        member: BtfMember | None = None
        for name in path.split("."):
            found = self._member_of(number, name)
            if found is None:
                return None
            at, member = found
            offset += at + member.bit_offset
            number = member.type
        number = self.btf.resolve(number)
        size = self.btf.size(number, self._pointer_size)
        kind = self.btf[number].kind
        if kind is Kind.INT and member is not None and not member.bits:
            offset += self.btf.integer(number)[1]  # of a bit field in old BTF
        if size is None:
            return None
        return Member(offset // 8, size, _MEMBER_KINDS.get(kind, "int"))

    def _member_of(self, number: int, name: str) -> tuple[int, BtfMember] | None:
        """Return a member of a struct or union, also of nameless ones inside it.

        Before it comes where the one that has it begins, in bits.
        """
        seen = set()
        waiting = [(0, number)]
        while waiting and name:
            start, number = waiting.pop()
            number = self.btf.resolve(number)
            if number in seen or self.btf[number].kind not in (Kind.STRUCT, Kind.UNION):
                continue
            seen.add(number)
            for member in self.btf.members(number):
                if member.name == name:
                    return start, member
                if not member.name:
                    waiting.append((start + member.bit_offset, member.type))
        return None


def _agreed(numbers: list[int], ask: Callable[[int], _T | None]) -> _T | None:
    """Return what all types of the numbers answer, None if they differ or one is damaged."""
    try:
        answers = [ask(number) for number in numbers]
    except ValueError:
        return None
    return answers[0] if answers and all(answer == answers[0] for answer in answers) else None


def read_btf(memory: AddressSpace, byte_order: ByteOrder, at: int, size: int) -> Btf:
    """Read the BTF of `size` bytes at an address; raises `MemoryFault` and `ValueError`."""
    return Btf.read(lambda inside, length: memory.read_exact(at + inside, length), size, byte_order)


def find_btf(memory: AddressSpace, byte_order: ByteOrder, start: int, end: int) -> tuple[int, Btf]:
    """Return the kernel's BTF, found by its header, and where it is.

    It lies between `start` and `end` in the kernel's read-only data. It is believed when its
    sections have the lengths that the header says, every record ends where the next begins,
    and struct task_struct is among the types. Raises `ValueError` when there is none.
    """
    for at, size in _headers(memory, byte_order, start, end):
        try:
            btf = read_btf(memory, byte_order, at, size)
        except (ValueError, MemoryFault):
            continue
        if btf.find("task_struct", Kind.STRUCT):
            return at, btf
    raise ValueError("BTF: none is found in the kernel's read-only data")


def _headers(
    memory: AddressSpace, byte_order: ByteOrder, start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Iterate over what can be BTF's header: where it is, and the size of the whole."""
    mark = MAGIC.to_bytes(2, byte_order) + bytes([VERSION, 0])
    tries = 0
    for base, data in readable_pieces(memory, start, end, HEADER_SIZE - 1):
        at = data.find(mark)
        while at >= 0:
            header = data[at : at + HEADER_SIZE]
            if (base + at) % 4 == 0 and len(header) == HEADER_SIZE:
                words = [
                    int.from_bytes(header[n : n + 4], byte_order) for n in range(4, HEADER_SIZE, 4)
                ]
                length, types_at, types, strings_at, strings = words
                size = length + max(types_at + types, strings_at + strings)
                if HEADER_SIZE <= length < 1 << 12 and types and strings and size <= MAX_BTF:
                    tries += 1
                    if tries > _MAX_TRIES:
                        return
                    yield base + at, size
            at = data.find(mark, at + 1)
