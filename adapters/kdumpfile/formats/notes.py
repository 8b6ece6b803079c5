"""The notes of a dump file, with bounds on what they may take."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import ReadAt
from kdump_gdbserver.adapters.kdumpfile.formats.header import UnusableFileError
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.kernel.notes import Note, notes_end, parse_notes

# Of all areas together. 8,192 CPUs with 8 KiB each fit.
MAX_NOTES_BYTES = 64 << 20
MAX_NOTES = 1 << 16


def read_notes(
    read_at: ReadAt, areas: Iterable[tuple[int, int]], byte_order: ByteOrder
) -> tuple[list[Note], bool]:
    """Return the notes of areas (file offset, size in bytes), and whether junk follows any.

    Raises `UnusableFileError` where the file ends inside them, or they are beyond the limits.
    """
    notes: list[Note] = []
    unread = False
    left = MAX_NOTES_BYTES
    for offset, size in areas:
        left -= size
        if left < 0:
            raise UnusableFileError(f"its notes have more than {MAX_NOTES_BYTES >> 20} MiB")
        area = read_at(offset, size)
        if len(area) < size:
            raise UnusableFileError("its notes are damaged, or the file ends inside them")
        room = MAX_NOTES + 1 - len(notes)
        notes += itertools.islice(parse_notes(area, byte_order), room)
        if len(notes) > MAX_NOTES:
            raise UnusableFileError(f"it has more than {MAX_NOTES} notes")
        unread |= any(area[notes_end(area, byte_order) :])
    return notes, unread
