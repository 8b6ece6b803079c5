"""Looking at dump files before libkdumpfile does: what they are, or what is wrong with them."""

from __future__ import annotations

import os
import stat

from kdump_gdbserver.adapters.kdumpfile.formats import elf_header, flattened, kdump_header
from kdump_gdbserver.adapters.kdumpfile.formats.bounds import reader_of
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader, UnusableFileError
from kdump_gdbserver.domain.errors import DumpOpenError

_TEXT_SAMPLE = 16
_UNLIMITED = 1 << 62
_WRAPPERS = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\x04\x22\x4d\x18": ("lz4", "unlz4"),
}


def open_file(path: str) -> int:
    """Open a dump file for reading; raise `DumpOpenError` in words for people."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise DumpOpenError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise DumpOpenError(
            f"{path}: permission denied; run as a user who may read it, or change its mode"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DumpOpenError(f"{path}: cannot be opened ({reason}); check the path") from None
    try:
        _check_kind(path, os.fstat(file))
    except DumpOpenError:
        os.close(file)
        raise
    return file


def _check_kind(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise DumpOpenError(f"{path}: is a directory; name the dump file in it (vmcore?)")
    if stat.S_ISREG(status.st_mode):
        if status.st_size == 0:
            raise DumpOpenError(
                f"{path}: is empty; the dump was never written, look for errors of kdump's "
                "capture (disk full?)"
            )
    elif not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        raise DumpOpenError(f"{path}: is not a regular file; give the dump file itself")


def read_header(path: str, file: int) -> FileHeader:
    """Read what the file's own header says; raise `DumpOpenError` if it is no dump."""
    size = os.fstat(file).st_size or _UNLIMITED  # a device has no size of its own
    read_at = reader_of(file, size)
    try:
        magic = read_at(0, _TEXT_SAMPLE)
        if magic.startswith(elf_header.MAGIC):
            return elf_header.read_elf_header(read_at, size)
        if magic.startswith(kdump_header.MAGICS):
            return kdump_header.read_kdump_header(read_at, size)
        if magic.startswith(flattened.MAGIC):
            return _flattened(flattened.FlattenedFile(read_at, size))
    except UnusableFileError as error:
        raise DumpOpenError(f"{path}: {error}; give a whole vmcore file") from None
    except OSError as error:
        raise DumpOpenError(
            f"{path}: cannot be read ({error.strerror}); check the disk it is on"
        ) from None
    for prefix, (name, tool) in _WRAPPERS.items():
        if magic.startswith(prefix):
            raise DumpOpenError(f"{path}: is compressed as a whole with {name}; run {tool} first")
    return FileHeader("unknown")


def _flattened(pieces: flattened.FlattenedFile) -> FileHeader:
    if pieces.read_at(0, 4) == elf_header.MAGIC:
        header = elf_header.read_elf_header(pieces.read_at, _UNLIMITED)
    else:
        header = kdump_header.read_kdump_header(pieces.read_at, pieces.file_size, flattened=True)
    header.flattened = True
    header.truncated = header.truncated or not pieces.complete
    return header
