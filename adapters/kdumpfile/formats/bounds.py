"""Which bytes and pages of memory a dump file holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.errors import FaultReason

ReadAt = Callable[[int, int], bytes]  # (offset, length), short at the end of the file
# Byte orders, as the struct module writes them.
MARKS: dict[ByteOrder, str] = {"little": "<", "big": ">"}


class Bounds(Protocol):
    """Which physical memory may be read through libkdumpfile."""

    def available(self, address: int, length: int) -> int:
        """Return how many of `length` bytes from `address` on may be read."""

    def reason(self, address: int) -> FaultReason:
        """Return why the byte at `address` is not there."""

    def is_torn(self, address: int, length: int) -> bool:
        """Whether the file ends within these bytes, which lie in one page.

        libkdumpfile reads the rest as zeros.
        """


class HeldPages(Bounds, Protocol):
    """`Bounds` of one kdump-compressed file, which has the frames from `first` to before `end`."""

    @property
    def first(self) -> int:
        """The first page frame the file may hold."""

    @property
    def end(self) -> int:
        """The page frame after the last."""

    def first_with(self, flag: int) -> int | None:
        """Return a frame whose page has a flag, None when there is none among the first."""


class Pages(Protocol):
    """The pages that a kdump-compressed file holds."""

    def count(self) -> int:
        """Return how many pages were dumped to this file."""

    def descriptor(self, frame: int) -> tuple[int, int, int] | None:
        """Return a page's offset and length in the file and its flags, None when not there."""


def reader_of(file: int, size: int) -> ReadAt:
    """Return a function that reads from a descriptor without moving its position.

    Offsets and lengths come from the dump and may be anything; `size` is the file's.
    """

    def read_at(offset: int, length: int) -> bytes:
        if offset < 0 or offset >= size or length <= 0:
            return b""
        return os.pread(file, min(length, size - offset), offset)

    return read_at
