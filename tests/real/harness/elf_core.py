"""What the harness must know of the ELF dumps that it makes: their notes, their length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from .errors import HarnessError

_PT_NOTE, _NT_PRSTATUS, _REGISTERS_AT = 4, 1, 112
_HEAD_BYTES = 1 << 20


def _segments(head: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, offset and size in the file of each segment of a 64-bit ELF file."""
    order = _order(head)
    [first] = struct.unpack_from(f"{order}Q", head, 32)
    [count] = struct.unpack_from(f"{order}H", head, 56)
    for index in range(count):
        kind, _flags, at, _va, _pa, size = struct.unpack_from(
            f"{order}IIQQQQ", head, first + 56 * index
        )
        yield kind, at, size


def _order(head: bytes) -> str:
    return ">" if head[5] == 2 else "<"


def prstatus_registers(path: Path) -> list[tuple[int, ...]]:
    """The registers in each NT_PRSTATUS note of a 64-bit ELF dump.

    They begin at byte 112 of struct elf_prstatus (include/linux/elfcore.h) on every machine here;
    the last one is the flag that follows them.
    """
    head = _head(path)
    order, found = _order(head), []
    for kind, start, length in _segments(head):
        at = start
        while kind == _PT_NOTE and at < start + length:
            name_size, size, note = struct.unpack_from(f"{order}III", head, at)
            at += 12 + (name_size + 3 & ~3)
            if note == _NT_PRSTATUS:
                words = (size - _REGISTERS_AT) // 8
                found.append(struct.unpack_from(f"{order}{words}Q", head, at + _REGISTERS_AT))
            at += size + 3 & ~3
    return found


def check_elf_size(path: Path) -> None:
    """Raise HarnessError if the file is shorter than its segments."""
    end = max(at + size for _kind, at, size in _segments(_head(path)))
    if (size := path.stat().st_size) < end:
        raise HarnessError(f"QEMU wrote {size} bytes of a dump that says it has {end}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)
