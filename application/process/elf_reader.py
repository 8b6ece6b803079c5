"""What the server reads of an ELF file that a process has mapped: type, segments, build-id.

Source: the ELF gABI, chapters "Object Files" and "Program Loading"; the same code reads
a file of the host and the pages of it that a process has mapped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.notes import find_build_id

# Reads up to that many bytes at a file offset; fewer, or an error, where bytes are missing.
Reader = Callable[[int, int], bytes]

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
PF_X, PF_W = 1, 2
_DT_TEXTREL, _DT_FLAGS, _DF_TEXTREL = 22, 30, 4

_IDENT = b"\x7fELF"
_MAX_SEGMENTS = 256
_MAX_NOTES = 1 << 16
_MAX_DYNAMIC = 1 << 14


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header; `offset` and `file_size` are in the file, `address` is as linked."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int

    def holds(self, offset: int) -> bool:
        """Whether the byte at a file offset belongs to the segment."""
        return self.offset <= offset < self.offset + self.file_size


@dataclass(frozen=True, slots=True)
class ElfImage:
    """The header and the segments of an ELF file; `kind` is ET_EXEC, ET_DYN, ..."""

    kind: int
    machine: int
    bits: int
    byte_order: ByteOrder
    entry: int
    segments: tuple[Segment, ...]

    def of_kind(self, kind: int) -> Iterator[Segment]:
        """Iterate over the segments of one kind, in the file's order."""
        return (segment for segment in self.segments if segment.kind == kind)


def read_elf(read: Reader) -> ElfImage | None:
    """Return the ELF image that `read` reads, None if it is not ELF or cannot be read."""
    head = _bytes(read, 0, 64)
    if len(head) < 52 or head[:4] != _IDENT or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    order, byte_order = (("<", "little"), (">", "big"))[head[5] - 1]
    if head[4] == 2:
        bits, header, entry = 64, "HHIQQQIHHH", "IIQQQQQQ"
    else:
        bits, header, entry = 32, "HHIIIIIHHH", "IIIIIIII"
    if len(head) < 16 + struct.calcsize(order + header):
        return None
    kind, machine, _, start, table, _, _, _, size, count = struct.unpack_from(
        order + header, head, 16
    )
    if size != struct.calcsize(order + entry) or not 0 < count <= _MAX_SEGMENTS:
        return None
    raw = _bytes(read, table, size * count)
    if len(raw) < size * count:
        return None
    segments = tuple(_segment(fields, bits) for fields in struct.iter_unpack(order + entry, raw))
    return ElfImage(
        kind, machine, bits, "little" if byte_order == "little" else "big", start, segments
    )


def read_build_id(image: ElfImage, read: Reader) -> str | None:
    """Return the GNU build-id as lower-case hex, None if there is none or it cannot be read."""
    for segment in image.of_kind(PT_NOTE):
        notes = _bytes(read, segment.offset, min(segment.file_size, _MAX_NOTES))
        found = find_build_id(notes, image.byte_order)
        if found is not None:
            return found
    return None


def is_never_written(image: ElfImage, read: Reader, offset: int) -> bool:
    """Whether neither loader nor program writes to the page that maps a file offset.

    That is true of segments without PF_W, unless there are text relocations (DT_TEXTREL).
    """
    inside = [segment for segment in image.of_kind(PT_LOAD) if segment.holds(offset)]
    return (
        bool(inside)
        and not any(segment.flags & PF_W for segment in inside)
        and not _has_text_relocations(image, read)
    )


def _has_text_relocations(image: ElfImage, read: Reader) -> bool:
    word = image.bits // 8
    for segment in image.of_kind(PT_DYNAMIC):
        raw = _bytes(read, segment.offset, min(segment.file_size, _MAX_DYNAMIC))
        for at in range(0, len(raw) - 2 * word + 1, 2 * word):
            tag = int.from_bytes(raw[at : at + word], image.byte_order)
            value = int.from_bytes(raw[at + word : at + 2 * word], image.byte_order)
            if tag == 0:
                break
            if tag == _DT_TEXTREL or (tag == _DT_FLAGS and value & _DF_TEXTREL):
                return True
    return False


def _segment(fields: tuple[int, ...], bits: int) -> Segment:
    if bits == 64:
        kind, flags, offset, address, _, file_size, memory_size, _ = fields
    else:
        kind, offset, address, _, file_size, memory_size, flags, _ = fields
    return Segment(kind, flags, offset, address, file_size, memory_size)


def _bytes(read: Reader, offset: int, count: int) -> bytes:
    try:
        return read(offset, count)
    except (MemoryFault, OSError):
        return b""
