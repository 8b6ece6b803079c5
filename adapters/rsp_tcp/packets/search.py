"""Packets that read much memory and return little: `qSearch:memory`, `qCRC`."""

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

# Bytes read at a time.
_CHUNK = 1 << 20
# The step over a hole of unknown size.
_PAGE = 4096
# Without a memory map a search ends after this many consecutive unreadable pages. That is 4 GiB,
# more than the holes that firmware leaves for devices; the rest of 2**64 would take years.
MAX_PAGES_MISSED = 1 << 20
# Unreadable pages between two moments at which the client can interrupt.
_MISSED_AT_ONCE = 256

# Each byte with its bits in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def search(client: Client, arguments: bytes) -> Unsupported | Work:
    """`qSearch:memory:ADDRESS;LENGTH;PATTERN`: the first address of the pattern."""
    fields = arguments.split(b";", 2)
    kind, _, start = fields[0].partition(b":")
    if kind != b"memory" or len(fields) != 3:
        return UNSUPPORTED
    if not fields[2]:
        raise PacketError("there is no pattern to search for")
    first = parse_hex(start)
    end = min(first + parse_hex(fields[1]), client.inferior.arch.pointer_mask + 1)
    return Work(_search(client, first, end, fields[2]))


def _search(client: Client, start: int, end: int, pattern: bytes) -> Steps:
    for found in find_bytes(client.session, start, end, pattern):
        if found is not None:
            return Data(b"1,%x" % found)
        yield WORKING
    return Data(b"0")


def find_bytes(session: DebugSession, start: int, end: int, pattern: bytes) -> Iterator[int | None]:
    """Yield None from time to time, and finally the first address of `pattern`, if it is found.

    A match starts at `start` or later and ends before `end`. Unreadable memory is skipped; no match
    extends over it. Raises `PacketError` after `MAX_PAGES_MISSED` unreadable pages without a
    memory map.
    """
    overlap = len(pattern) - 1
    tail = b""  # the end of the chunk before, when this one adjoins it
    missed = 0
    mapped_until = start  # the memory map has pages up to here
    while start + len(pattern) - len(tail) <= end:
        try:
            chunk = session.read_memory(start, min(_CHUNK, end - start))
        except MemoryFault:
            tail = b""
            missed += 1
            if missed > MAX_PAGES_MISSED and session.memory_map is None:
                raise PacketError(
                    f"search given up at {start:#x}:"
                    f" the {MAX_PAGES_MISSED * _PAGE >> 20} MiB before it cannot be read"
                ) from None
            start = start - start % _PAGE + _PAGE
            if start > mapped_until and session.memory_map is not None:
                # A look-up in the map is slow, so there is one for each region, not each page.
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
    """Return the next address to try after an unreadable page, and the end of its mapping."""
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

    The polynomial is 0x04c11db7, most significant bit first, and the initial value is all ones (GDB
    manual, "General Query Packets"). zlib computes the same CRC least significant bit first, so the
    bits of its input and of its result are reversed.
    """
    address, length = parse_hex_pair(arguments)
    session = client.session
    if length and not _is_readable(session, address):
        # gdb's compare-sections asks for load addresses, as they are in the file.
        arch = client.inferior.arch
        placement = client.inferior.placement
        moved = placement.of_load_address(address, arch.image_base, arch.pointer_mask)
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
