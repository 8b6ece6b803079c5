"""Where in the dump's files the bytes of a physical page are."""

from __future__ import annotations

from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.adapters.kdumpfile.formats.kdump_header import CODECS
from kdump_gdbserver.domain.dump_facts import FilePlace


class KdumpFilePlaces:
    """The places in one dump's files; implements `ports.crash_dump.FilePlaces`."""

    def __init__(
        self,
        files: DumpFiles,
        paths: Sequence[str],
        headers: Sequence[FileHeader],
        page_size: int,
    ) -> None:
        self._files = files
        self._paths = paths
        self._headers = headers
        self._page_size = page_size

    def find(self, physical: int) -> FilePlace | None:
        """See `FilePlaces.find`.

        Raises `ValueError` when the dump is closed, `MemoryFault` when its files have changed.
        """
        self._files.require_open()
        for path, header in zip(self._paths, self._headers, strict=True):
            place = (
                _in_elf(path, header, physical)
                if header.extents is not None
                else _in_kdump(path, header, self._page_size, physical)
            )
            self._files.require_unchanged(physical)
            if place is not None:
                return place
        return None

    def stored_memory(self) -> int:
        """See `FilePlaces.stored_memory`; raises `ValueError` when the dump is closed."""
        self._files.require_open()
        total = 0
        for header in self._headers:
            if header.extents is not None:
                total += header.extents.total()
            elif header.pages is not None:
                total += header.pages().count() * self._page_size
        return total


def _in_elf(path: str, header: FileHeader, address: int) -> FilePlace | None:
    extent = header.extents.find(address) if header.extents is not None else None
    if extent is None:
        return None
    offset = extent.offset + address - extent.start
    return FilePlace(path, offset, extent.end - address, rearranged=header.flattened)


def _in_kdump(path: str, header: FileHeader, page_size: int, address: int) -> FilePlace | None:
    pages = header.pages() if header.pages is not None else None
    descriptor = pages.descriptor(address // page_size) if pages is not None else None
    if descriptor is None:
        return None
    offset, size, flags = descriptor
    codec = next((name for bit, name in CODECS if flags & bit), None)
    inside = address % page_size
    return FilePlace(path, offset, size, codec, inside, rearranged=header.flattened)
