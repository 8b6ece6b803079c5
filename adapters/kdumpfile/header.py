"""What the first bytes of a dump file tell before libkdumpfile opens it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kdump_gdbserver.adapters.kdumpfile.extents import Extents
from kdump_gdbserver.adapters.kdumpfile.note_area import NT_PRSTATUS, Note
from kdump_gdbserver.domain.errors import FaultReason

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.kdumpfile.dumped_pages import DumpedPages

ReadAt = Callable[[int, int], bytes]  # (offset, length), short at the end of the file


class UnusableFileError(ValueError):
    """A file is no dump that can be opened; the message says why, without the path."""


class Bounds(Protocol):
    """Which physical memory may be read through libkdumpfile."""

    def available(self, address: int, length: int) -> int:
        """Return how many of `length` bytes from `address` on may be read."""

    def reason(self, address: int) -> FaultReason:
        """Return why the byte at `address` is not there."""

    def is_torn(self, address: int, length: int) -> bool:
        """Whether the file ends within these bytes, which lie in one page.

        libkdumpfile takes the rest of them for zeros.
        """


class Pages(Protocol):
    """The pages that a kdump-compressed file holds."""

    def count(self) -> int:
        """Return how many pages were dumped to this file."""

    def descriptor(self, frame: int) -> tuple[int, int, int] | None:
        """Return a page's offset and length in the file and its flags, None when not there."""


@dataclass(slots=True)
class FileHeader:
    """The facts of a dump file's own header.

    `machine` is uname's or ELF's name of the machine, None when the file does not tell.
    `codec` names the compression of the pages, `extents` the physical memory that an
    ELF dump holds, `held` the pages of a kdump-compressed one; `pages` reads their table.
    `frames` are the first page frame of this file, the one behind the last, and how many
    the whole dump has; `identity` is the same in all parts of a dump.
    """

    form: str
    machine: str | None = None
    notes: Sequence[Note] = ()
    dump_level: int | None = None
    codec: str | None = None
    truncated: bool = False
    split: bool = False
    flattened: bool = False
    extents: Extents | None = None
    held: DumpedPages | None = None
    pages: Callable[[], Pages] | None = None
    frames: tuple[int, int, int] = (0, 0, 0)
    identity: bytes = b""

    @property
    def from_qemu(self) -> bool:
        """Whether QEMU wrote the notes (docs/specs of QEMU: a note named QEMU per CPU)."""
        return any(note.name == b"QEMU" for note in self.notes)

    @property
    def vmcoreinfo(self) -> bytes | None:
        """The VMCOREINFO note's text."""
        for note in self.notes:
            if note.name == b"VMCOREINFO" and note.descriptor:
                return note.descriptor
        return None

    @property
    def prstatus_sizes(self) -> set[int]:
        """The sizes of the NT_PRSTATUS notes in bytes."""
        return {
            len(note.descriptor)
            for note in self.notes
            if note.name == b"CORE" and note.type == NT_PRSTATUS
        }


def reader_of(file: int, size: int) -> ReadAt:
    """Return a function that reads from a descriptor without moving its position.

    Offsets and lengths come from the dump and may be anything; `size` is the file's.
    """

    def read_at(offset: int, length: int) -> bytes:
        if offset < 0 or offset >= size or length <= 0:
            return b""
        return os.pread(file, min(length, size - offset), offset)

    return read_at
