"""Rewrites a zlib kdump file with zstd or snappy pages.

Debian's makedumpfile is built without those two, newer ones on other distributions use them. Only
the page data, the page descriptors and the header's `status` differ; everything else is copied
from the file that makedumpfile wrote. Format: makedumpfile.h and diskdump_mod.h (struct
disk_dump_header, struct page_desc) of makedumpfile's source.
"""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from .errors import HarnessError

# DUMP_DH_COMPRESSED_*: the same values stand in the header's status and in each descriptor.
ZLIB = 0x1
FLAGS = {"snappy": 0x4, "zstd": 0x20}
_STATUS_OFFSET = 424
_DESCRIPTOR = struct.Struct("<qIIQ")  # offset, size, flags, page_flags


def recompress(source: Path, target: Path, method: str, library: Path) -> None:
    """Write the kdump file `source` to `target`, its pages packed by `method` from `library`."""
    data = source.read_bytes()
    if not data.startswith(b"KDUMP   "):
        raise HarnessError(f"{source} is no kdump file")
    status, block, sub_blocks, bitmap_blocks = struct.unpack_from("<IiiI", data, _STATUS_OFFSET)
    bitmap = (1 + sub_blocks) * block
    first = bitmap + bitmap_blocks * block
    # The second half of the bitmaps tells which pages are in the file.
    half = bitmap_blocks * block // 2
    count = int.from_bytes(data[bitmap + half : first], "little").bit_count()
    pack = _packer(method, library)
    descriptors, pages = bytearray(), bytearray()
    page_area = first + count * _DESCRIPTOR.size
    seen: dict[int, tuple[int, int, int]] = {}  # pages of zeros share one piece of data
    for index in range(count):
        at = first + index * _DESCRIPTOR.size
        offset, size, flags, page_flags = _DESCRIPTOR.unpack_from(data, at)
        if offset not in seen:
            plain = data[offset : offset + size]
            plain = zlib.decompress(plain) if flags & ZLIB else plain
            packed = pack(plain)
            new_flags = FLAGS[method] if len(packed) < len(plain) else 0
            piece = packed if new_flags else plain
            seen[offset] = (page_area + len(pages), len(piece), new_flags)
            pages += piece
        descriptors += _DESCRIPTOR.pack(*seen[offset], page_flags)
    head = bytearray(data[:first])
    struct.pack_into("<I", head, _STATUS_OFFSET, status & ~ZLIB | FLAGS[method])
    target.write_bytes(head + descriptors + pages)


def _packer(method: str, library: Path) -> Callable[[bytes], bytes]:
    size_t = ctypes.c_size_t
    try:
        code = ctypes.CDLL(str(library))
    except OSError as error:
        raise HarnessError(f"cannot load {library}: {error}") from error
    room = ctypes.create_string_buffer(1 << 17)

    def zstd(plain: bytes) -> bytes:
        compress = code.ZSTD_compress
        compress.restype = size_t
        length = compress(room, size_t(len(room)), plain, size_t(len(plain)), 1)
        if code.ZSTD_isError(size_t(length)):
            raise HarnessError("ZSTD_compress failed")
        return room.raw[:length]

    def snappy(plain: bytes) -> bytes:
        length = size_t(len(room))
        if code.snappy_compress(plain, size_t(len(plain)), room, ctypes.byref(length)):
            raise HarnessError("snappy_compress failed")
        return room.raw[: length.value]

    return {"zstd": zstd, "snappy": snappy}[method]
