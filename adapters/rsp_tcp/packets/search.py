"""Packets that look at much memory and send little: `qSearch:memory`, `qCRC`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    UNSUPPORTED,
    WORKING,
    Data,
    Steps,
    Unsupported,
    Work,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex, parse_hex_pair
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.ports.debug_session import DebugSession
from kdump_gdbserver.ports.memory_map import MemoryMap

# How much is read and searched at a time.
_CHUNK = 1 << 20
# Where a session cannot tell how far a hole reaches, the next page is tried.
_PAGE = 4096
# So many pages in a row that cannot be read end a search where there is no memory map: 4 GiB,
# more than the holes that firmware leaves for devices. The rest of 2**64 would take years.
MAX_PAGES_MISSED = 1 << 20
# After so many of them the client may interrupt.
_MISSED_AT_ONCE = 256

# Every byte with its bits in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def search(client: Client, arguments: bytes) -> Unsupported | Work:
    """`qSearch:memory:ADDRESS;LENGTH;PATTERN`: where the pattern is first found."""
    fields = arguments.split(b";", 2)
    kind, _, start = fields[0].partition(b":")
    if kind != b"memory" or len(fields) != 3:
        return UNSUPPORTED
    if not fields[2]:
        raise PacketError("there is no pattern to search for")
    first = parse_hex(start)
    end = min(first + parse_hex(fields[1]), client.session.arch.pointer_mask + 1)
    return Work(_search(client, first, end, fields[2]))


def _search(client: Client, start: int, end: int, pattern: bytes) -> Steps:
    for found in find_bytes(client.session, start, end, pattern):
        if found is not None:
            return Data(b"1,%x" % found)
        yield WORKING
    return Data(b"0")


def find_bytes(session: DebugSession, start: int, end: int, pattern: bytes) -> Iterator[int | None]:
    """Yield None now and then, and at last the first address of `pattern`, if there is one.

    It lies at `start` or behind, and all of it before `end`. What cannot be read is passed
    over; a match may lie across chunks but not across holes. Raises `PacketError` when
    nothing at all can be read for long and nothing tells how far that goes on.
    """
    overlap = len(pattern) - 1
    tail = b""  # the end of the chunk before, when this one adjoins it
    missed = 0
    mapped_until = start  # as far as the memory map says that there are pages
    while start + len(pattern) - len(tail) <= end:
        try:
            chunk = session.read_memory(start, min(_CHUNK, end - start))
        except MemoryFault:
            tail = b""
            missed += 1
            if missed > MAX_PAGES_MISSED and session.memory_map is None:
                raise PacketError(
                    f"search given up at {start:#x}: nothing could be read"
                    f" in {MAX_PAGES_MISSED * _PAGE >> 20} MiB before it"
                ) from None
            start = start - start % _PAGE + _PAGE
            if start > mapped_until and session.memory_map is not None:
                # The map is slow to ask: not again for every page of this region.
                start, mapped_until = _behind_hole(session.memory_map, start - _PAGE)
                yield None
            if missed % _MISSED_AT_ONCE == 0:
                yield None
            continue
        missed = 0
        data = tail + chunk
        at = data.find(pattern)
        if at >= 0:
            yield start - len(tail) + at
            return
        tail = data[-overlap:] if overlap else b""
        start += len(chunk)
        yield None


def _behind_hole(memory_map: MemoryMap, page: int) -> tuple[int, int]:
    """Return the next address worth a try, and how far pages are mapped there for certain.

    `page` cannot be read.
    """
    following = page + _PAGE
    try:
        region = memory_map.region(page)
    except MemoryFault:
        return following, following
    if region.permissions:
        return following, max(region.end, following)
    return max(region.end, following), following


def checksum_of_memory(client: Client, arguments: bytes) -> Work:
    """`qCRC:ADDRESS,LENGTH`: the CRC-32 of memory, all of which must be readable.

    The polynomial is 0x04c11db7, taken from the highest bit down, and the start value all
    ones (GDB manual, "General Query Packets"). zlib has the same CRC from the lowest bit up:
    so bits are reversed going in and coming out.
    """
    address, length = parse_hex_pair(arguments)
    session = client.session
    if length and not _is_readable(session, address):
        # compare-sections asks by load addresses, as the file has them.
        moved = ((address + offset) & session.arch.pointer_mask for offset in session.load_bases)
        address = next((each for each in moved if _is_readable(session, each)), address)
    return Work(_checksum(client, address, length))


def _checksum(client: Client, address: int, length: int) -> Steps:
    crc, end = 0, address + length
    while address < end:
        chunk = client.session.read_memory(address, min(_CHUNK, end - address))
        crc = zlib.crc32(chunk.translate(_REVERSED), crc)
        address += len(chunk)
        yield WORKING
    reversed_crc = (crc ^ 0xFFFFFFFF).to_bytes(4, "little").translate(_REVERSED)
    return Data(b"C%x" % int.from_bytes(reversed_crc, "big"))


def _is_readable(session: DebugSession, address: int) -> bool:
    try:
        return bool(session.read_memory(address, 1))
    except MemoryFault:
        return False
