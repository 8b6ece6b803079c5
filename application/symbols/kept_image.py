"""A symbol image as it is kept for the next dump of the same kernel, and what proves it."""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array

from kdump_gdbserver.application.symbols.symbol_image import SYMBOLS
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.orc import HEADER, HEADER_SIZE
from kdump_gdbserver.domain.symbols.dump_types import DumpTypes
from kdump_gdbserver.domain.symbols.writers.symbol_image import SymbolImage

# One more with each change of what images have in them.
FORMAT = 3
# The fingerprint, whether the file is big-endian, its table, how many places there are, and how
# long the words about what is missing are.
_HEAD = struct.Struct("<32s?7xQQQQ")
_KERNEL_HALF = 1 << 63
_MASK = (1 << 64) - 1
_ORC = (
    ("__start_orc_unwind_ip", "__stop_orc_unwind_ip"),
    ("__start_orc_unwind", "__stop_orc_unwind"),
)
_MAX_ORC = 64 << 20


def fingerprint(memory: AddressSpace, types: DumpTypes, offset: int) -> bytes | None:
    """Return a sum over all that an image is made of, None where the dump lacks some of it.

    A build-id says of which kernel a dump says it is. What is kept under it is for dumps whose
    tables are the same to the byte, so that no dump can spoil the names of another.
    """
    kallsyms, btf = types.kallsyms, types.btf
    if kallsyms is None or btf is None:
        return None
    found = hashlib.sha256(struct.pack("<I", FORMAT))
    linked = [at - offset & _MASK if at >= _KERNEL_HALF else at for at in kallsyms.addresses]
    found.update(array("Q", linked))
    found.update(array("I", btf.words))
    for part in (*kallsyms.names.packed, btf.strings):
        found.update(struct.pack("<Q", len(part)))
        found.update(part)
    at = kallsyms.find(SYMBOLS)
    for start, stop in _ORC:
        if start in at and stop in at:
            (begin, *_), (end, *_) = at[start], at[stop]
            try:
                found.update(memory.read_exact(begin, min(max(end - begin, 0), _MAX_ORC)))
            except MemoryFault:
                return None
    if HEADER[0] in at:
        try:
            found.update(memory.read_exact(at[HEADER[0]][0], HEADER_SIZE))
        except MemoryFault:
            return None
    return found.digest()


def pack(image: SymbolImage, proof: bytes) -> bytes:
    """Return an image as one content."""
    places = image.places
    if sys.byteorder != "little":
        places = array("I", places)
        places.byteswap()
    missing = "\0".join(image.missing).encode()
    head = _HEAD.pack(
        proof, image.order == "big", image.table, image.table_end, len(places), len(missing)
    )
    return head + missing + places.tobytes() + image.file


def unpack(content: bytes, proof: bytes) -> SymbolImage | None:
    """Return the image, None when the content is none, or of a kernel that is not the same."""
    if len(content) < _HEAD.size:
        return None
    kept, big, table, table_end, count, length = _HEAD.unpack_from(content)
    places = array("I")
    begin = _HEAD.size + length
    start = begin + count * places.itemsize
    if kept != proof or start > len(content):
        return None
    places.frombytes(content[begin:start])
    if sys.byteorder != "little":
        places.byteswap()
    file = content[start:]
    if not 0 <= table <= table_end <= len(file) or max(places, default=0) > len(file) - 8:
        return None
    words = content[_HEAD.size : begin].decode("utf-8", "replace")
    missing = tuple(words.split("\0")) if words else ()
    return SymbolImage(file, "big" if big else "little", places, table, table_end, missing)
