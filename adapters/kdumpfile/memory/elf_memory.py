"""Physical memory of an ELF dump, read straight from the file."""

from __future__ import annotations

import os
import threading

from kdump_gdbserver.adapters.kdumpfile.formats.extents import Extents
from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.domain.address_space import AddressSpace, read_to_hole
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault


class ElfMemory(AddressSpace):
    """The PT_LOAD segments of an ELF dump by physical address.

    libkdumpfile without mmap reads an ELF dump in pieces of a page, two to a page when
    segments do not start on a page of the file (QEMU's), and with mmap a file that is
    cut while it is open means SIGBUS. One pread(2) per request has neither fault.
    """

    def __init__(self, files: DumpFiles, extents: Extents) -> None:
        """Read from the first of `files`."""
        self._files: DumpFiles | None = files
        self._file = files[0]
        self._extents = extents
        self._lock = threading.Lock()

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`; raises `ValueError` when the dump is closed."""
        if length <= 0:
            return b""
        extent = self._extents.find(address)
        if extent is None:
            raise MemoryFault(address, self._extents.reason(address))
        with self._lock:
            if address + length <= extent.end:
                return self._pread(address, extent.offset + address - extent.start, length)
            return read_to_hole(self._piece, address, length)

    def _piece(self, address: int, length: int) -> bytes:
        extent = self._extents.find(address)
        if extent is None:
            raise MemoryFault(address, self._extents.reason(address))
        length = min(length, extent.end - address)
        return self._pread(address, extent.offset + address - extent.start, length)

    def _pread(self, address: int, offset: int, length: int) -> bytes:
        if self._files is None:
            raise ValueError("the dump is closed")
        try:
            data = os.pread(self._file, length, offset)
        except OSError as error:
            raise MemoryFault(address, FaultReason.IO, error.strerror or str(error)) from None
        if os.fstat(self._file).st_ctime_ns != self._files.times[0]:
            self._files.require_unchanged(address)
        if not data:  # of a device
            raise MemoryFault(address, FaultReason.TRUNCATED, "it has become shorter")
        return data

    def close(self) -> None:
        """Release the file once no read is in progress."""
        with self._lock:
            self._files = None
