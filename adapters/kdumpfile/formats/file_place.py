"""Where in the dump's files the bytes of a physical page are."""

from __future__ import annotations

from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.adapters.kdumpfile.formats.kdump_header import CODECS
from kdump_gdbserver.domain.page_walk import FilePlace


def find_place(
    paths: Sequence[str], headers: Sequence[FileHeader], page_size: int, address: int
) -> FilePlace | None:
    """Return where the page of a physical address is, None when it is in no file."""
    for path, header in zip(paths, headers, strict=True):
        place = (
            _in_elf(path, header, address)
            if header.extents is not None
            else _in_kdump(path, header, page_size, address)
        )
        if place is not None:
            return place
    return None


def stored_memory(headers: Sequence[FileHeader], page_size: int) -> int:
    """Return how many bytes of memory the files hold."""
    total = 0
    for header in headers:
        if header.extents is not None:
            total += header.extents.total()
        elif header.pages is not None:
            total += header.pages().count() * page_size
    return total


def _rearranged(header: FileHeader) -> str:
    return ", at this offset of the rearranged dump" if header.flattened else ""


def _in_elf(path: str, header: FileHeader, address: int) -> FilePlace | None:
    extent = header.extents.find(address) if header.extents is not None else None
    if extent is None:
        return None
    offset = extent.offset + address - extent.start
    return FilePlace(path, offset, extent.end - address, "as it is" + _rearranged(header))


def _in_kdump(path: str, header: FileHeader, page_size: int, address: int) -> FilePlace | None:
    pages = header.pages() if header.pages is not None else None
    descriptor = pages.descriptor(address // page_size) if pages is not None else None
    if descriptor is None:
        return None
    offset, size, flags = descriptor
    codec = next((name for bit, name in CODECS if flags & bit), None)
    stored = "as it is" if codec is None else f"compressed with {codec}"
    return FilePlace(path, offset, size, stored + _rearranged(header))
