"""kdump-compressed headers (makedumpfile's diskdump_mod.h; the 64-bit layout)."""

from __future__ import annotations

import functools
import struct

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import MARKS, ReadAt
from kdump_gdbserver.adapters.kdumpfile.formats.dumped_pages import PAGE_DESCRIPTORS, DumpedPages
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader, UnusableFileError
from kdump_gdbserver.adapters.kdumpfile.formats.notes import MAX_NOTES_BYTES, read_notes
from kdump_gdbserver.adapters.kdumpfile.formats.page_bitmap import PageBitmap
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import arch_named
from kdump_gdbserver.domain.kernel.notes import Note

MAGICS = (b"KDUMP   ", b"DISKDUMP")
# signature, header_version, six utsname fields, timestamp, status, block_size,
# sub_hdr_size, bitmap_blocks, max_mapnr
_HEADER = "8si65s65s65s65s65s65s6x16xIiiII"
# phys_base, dump_level, split, start_pfn, end_pfn, then offset and size of VMCOREINFO,
# of the notes and of the erase info, then start_pfn_64, end_pfn_64, max_mapnr_64
_SUB_HEADER = "QiiQQQQQQQQQQQ"
_STATUS_AT = 424  # after signature, version, utsname and timestamp
# Fields of struct new_utsname (include/uapi/linux/utsname.h).
UTS_NODENAME, UTS_RELEASE, UTS_VERSION, UTS_MACHINE = range(1, 5)
_INCOMPLETE = 0x8
# Bits of the header's status, and of each page's flags.
CODECS = ((0x1, "zlib"), (0x2, "lzo"), (0x4, "snappy"), (0x20, "zstd"))
# Of both bitmaps, for 64 TiB of memory in pages of 4 KiB. libkdumpfile holds one of them.
MAX_BITMAPS = 4 << 30
_MOST_VERSION = 0xFFFF
_PAGES_CHECKED = 512


def told(name: str | None) -> str | None:
    """Return a name of struct new_utsname; None for what QEMU writes when it knows none."""
    return None if name in ("", "Unknown") else name


def read_kdump_header(read_at: ReadAt, file_size: int, flattened: bool = False) -> FileHeader:
    """Read header, sub-header and notes.

    The last pages are looked up too, to see whether `file_size` bytes hold them; not in a
    `flattened` file, whose end mark says so. Raises `UnusableFileError` when headers or bitmap are
    missing.
    """
    header = FileHeader("kdump")
    layout = struct.Struct("<" + _HEADER)
    raw = read_at(0, layout.size)
    if len(raw) < layout.size:
        raise UnusableFileError("it ends inside its header (truncated)")
    fields = layout.unpack(raw)
    if fields[1] > _MOST_VERSION:  # in the other byte order it is a very large number
        header.byte_order = "big"
        fields = struct.unpack(">" + _HEADER, raw)
    version = fields[1]
    header.uts = tuple(name.split(b"\0", 1)[0].decode("utf-8", "replace") for name in fields[2:8])
    status, block_size, sub_blocks, bitmap_blocks, pages = fields[8:13]
    header.machine = told(header.uts[UTS_MACHINE])
    header.codec = next((name for bit, name in CODECS if status & bit), None)
    header.truncated = bool(status & _INCOMPLETE)
    if header.machine is not None and arch_named(header.machine) is None:
        return header  # the layout may be another
    header.block_size = block_size
    header.frames = 0, pages, pages
    if version >= 1:
        _read_sub_header(header, read_at, block_size, version)
    header.identity = raw[:_STATUS_AT]
    table = _PageTable(
        read_at, block_size, 1 + sub_blocks, bitmap_blocks, header.frames, header.byte_order
    )
    header.pages = lambda: table.pages(header.truncated)
    if bitmap_blocks * block_size > min(MAX_BITMAPS, file_size):
        raise UnusableFileError("it ends before its pages (truncated)")
    if not flattened:
        table.require_bitmap()
        header.truncated = header.truncated or table.is_cut(file_size)
        header.held = table.pages(header.truncated)
    return header


def _read_sub_header(header: FileHeader, read_at: ReadAt, block_size: int, version: int) -> None:
    layout = struct.Struct(MARKS[header.byte_order] + _SUB_HEADER)
    raw = read_at(block_size, layout.size)
    if len(raw) < layout.size:
        raise UnusableFileError("it ends inside its header (truncated)")
    values = layout.unpack(raw)
    header.split = version >= 2 and bool(values[2])
    header.notes = _notes(read_at, version, values, header.byte_order)
    # QEMU writes level 1 but leaves no page out: its zero pages all point to one copy.
    header.dump_level = 0 if header.from_qemu else values[1]
    header.frames = _page_range(version, values, header.frames[2])


def _notes(read_at: ReadAt, version: int, values: tuple[int, ...], order: ByteOrder) -> list[Note]:
    notes: list[Note] = []
    if version >= 4 and values[8]:
        notes.extend(read_notes(read_at, [(values[7], values[8])], order)[0])
    if version >= 3 and values[6] and not any(note.name == b"VMCOREINFO" for note in notes):
        notes.append(Note(b"VMCOREINFO", 0, read_at(values[5], min(values[6], MAX_NOTES_BYTES))))
    if version >= 3 and max(values[6], values[10] if version >= 4 else 0) > MAX_NOTES_BYTES:
        raise UnusableFileError("its header is damaged (the size of VMCOREINFO or of erase info)")
    return notes


def _page_range(version: int, values: tuple[int, ...], pages: int) -> tuple[int, int, int]:
    """Return the first and last-plus-one frame of this file, and the number of all frames."""
    total = values[13] if version >= 6 and values[13] else pages
    if version >= 2 and values[2]:
        return (values[11], values[12], total) if version >= 6 else (values[3], values[4], total)
    return 0, total, total


class _PageTable:
    """The bitmap of dumped pages and the descriptors that follow it.

    A descriptor follows for each set bit of the second bitmap, and the pages' data are
    written in the order of the descriptors.
    """

    def __init__(  # noqa: PLR0917
        self,
        read_at: ReadAt,
        block_size: int,
        header_blocks: int,
        bitmap_blocks: int,
        frames: tuple[int, int, int],
        byte_order: ByteOrder,
    ) -> None:
        self._read_at = read_at
        self._descriptor = PAGE_DESCRIPTORS[byte_order]
        self._block_size = block_size
        self._frames = frames
        at, size = header_blocks * block_size, bitmap_blocks * block_size
        self._descriptors_at = at + size
        if frames[2] <= size * 8 // 2:  # a bitmap of memory comes before it
            size = bitmap_blocks // 2 * block_size
            at += size
        self._at, self._size = at, size

    @functools.cached_property
    def _bitmap(self) -> PageBitmap:
        return PageBitmap(self._read_at, self._at, self._size)

    def require_bitmap(self) -> None:
        """Raise `UnusableFileError` when the bitmap is not whole."""
        if len(self._bitmap) < self._size * 8:
            raise UnusableFileError("it ends before its pages (truncated)")

    def is_cut(self, file_size: int) -> bool:
        """Return whether the file ends before the data of its last pages.

        Raises `UnusableFileError` when what should be their descriptors is something else.
        """
        bitmap = self._bitmap
        dumped = max(bitmap.rank(self._frames[1]) - bitmap.rank(self._frames[0]), 0)
        checked = min(dumped, _PAGES_CHECKED)
        size = self._descriptor.size
        raw = self._read_at(self._descriptors_at + (dumped - checked) * size, checked * size)
        if len(raw) < checked * size:
            return True
        pages = list(self._descriptor.iter_unpack(raw))
        if any(size > self._block_size for _, size, _, _ in pages):
            raise UnusableFileError("its table of pages is damaged, or its header is")
        return any(offset + size > file_size for offset, size, _, _ in pages)

    def pages(self, truncated: bool) -> DumpedPages:
        """Return which pages are in the file."""
        return DumpedPages(
            self._read_at,
            bitmap=self._bitmap,
            descriptors_at=self._descriptors_at,
            page_size=self._block_size,
            frames=self._frames,
            truncated=truncated,
            descriptor=self._descriptor,
        )
