"""Address spaces that libkdumpfile reads by itself."""

from __future__ import annotations

import ctypes
from typing import cast

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import Bounds
from kdump_gdbserver.adapters.kdumpfile.library.bindings import Status
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory.page_cache import PageCache
from kdump_gdbserver.domain.address_space import AddressSpace, read_to_hole
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault

_BUFFER_SIZE = 64 * 1024
_END = 1 << 64

REASONS: dict[int, FaultReason] = {
    Status.NODATA: FaultReason.EXCLUDED,
    Status.ADDRXLAT: FaultReason.UNMAPPED,
    Status.INVALID: FaultReason.UNMAPPED,
    Status.EOF: FaultReason.TRUNCATED,
    Status.CORRUPT: FaultReason.CORRUPT,
}


class KdumpAddressSpace(AddressSpace):
    """Memory of one of libkdumpfile's address spaces, through a context of its own.

    Reads go into one buffer that lives as long as the space. `close` may be called
    from another thread; it waits for a read that is under way.
    """

    def __init__(
        self, context: Context, kind: int, cache: PageCache, bounds: Bounds | None = None
    ) -> None:
        """Take the context over; `kind` is a kdump_addrspace_t, and `cache` one for it.

        `bounds`, if given, says what may be read.
        """
        self.context = context
        self._kind = kind
        self._bounds = bounds
        self._cache = cache
        self._page_size = cache.page_size
        self._files = context.files
        self._lock = context.lock
        self._kdump_read = context.functions.kdump_read
        self._buffer = ctypes.create_string_buffer(_BUFFER_SIZE)
        self._address = ctypes.addressof(self._buffer)
        self._size = ctypes.c_size_t()
        self._size_reference = ctypes.byref(self._size)

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`; raises `ValueError` when the dump is closed."""
        offset = address % self._page_size
        in_page = 0 < length <= self._page_size - offset
        if in_page and (page := self._cache.get(address - offset)) is not None:
            self.context.require_open()
            if self._files is not None and self._files.changed is not None:
                self._files.require_unchanged(address)
            return page[offset : offset + length]
        if length > 0 and self._bounds is not None:
            with self._lock:  # it reads the file, which must stay open
                self.context.require_open()
                length = self._bounds.available(address, length)
                if not length:
                    self._require_unchanged(address)
                    raise MemoryFault(address, self._bounds.reason(address))
        if in_page and 0 <= address < _END:
            return self._read_page(address, offset, length)
        if 0 < length <= _BUFFER_SIZE and address >= 0 and address + length <= _END:
            return self._read_some(address, length)
        return self._read_any(address, length)

    def _read_page(self, address: int, offset: int, length: int) -> bytes:
        """Read from one page, which is kept if all of it is in the dump."""
        size = self._page_size
        try:
            page = self._read_some(address - offset, size)
        except MemoryFault as fault:
            raise MemoryFault(address, fault.reason, fault.detail) from None
        if self._bounds is None or self._bounds.available(address - offset, size) == size:
            self._cache.put(address - offset, page)
        return page[offset : offset + length]

    def _read_some(self, address: int, length: int) -> bytes:
        """Read what fits the buffer and the address space."""
        with self._lock:
            size = self._size
            size.value = length
            status = self._kdump_read(
                self.context.pointer, self._kind, address, self._address, self._size_reference
            )
            self._require_unchanged(address)
            if size.value:
                return cast(bytes, self._buffer[: size.value])  # a char array's slice is bytes
            detail = self.context.error
        raise MemoryFault(address, REASONS.get(status, FaultReason.IO), detail)

    def _read_any(self, address: int, length: int) -> bytes:
        """Read piece by piece, up to the end of the address space."""
        if length <= 0:
            return b""
        if not 0 <= address < _END:
            raise MemoryFault(address, FaultReason.UNMAPPED, "outside the address space")
        return read_to_hole(
            lambda at, most: self._read_some(at, min(most, _BUFFER_SIZE)),
            address,
            min(length, _END - address),
        )

    def _require_unchanged(self, address: int) -> None:
        if self._files is not None:
            self._files.require_unchanged(address)

    def close(self) -> None:
        """Free the context once no read is in progress."""
        with self._lock:
            self.context.close()
