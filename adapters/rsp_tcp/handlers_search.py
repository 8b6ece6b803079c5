"""Packets that look at much memory and send little: `qSearch:memory`, `qCRC`."""

from __future__ import annotations

import zlib

from kdump_gdbserver.adapters.rsp_tcp.client import Client
from kdump_gdbserver.adapters.rsp_tcp.encoding import PacketError, parse_hex, parse_hex_pair
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.ports.debug_session import DebugSession

# How much is read and searched at a time.
_CHUNK = 1 << 20
# Where a session cannot tell how far a hole reaches, the next page is tried.
_PAGE = 4096

# Every byte with its bits in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def search(client: Client, arguments: bytes) -> bytes:
    """`qSearch:memory:ADDRESS;LENGTH;PATTERN`: where the pattern is first found."""
    fields = arguments.split(b";", 2)
    kind, _, start = fields[0].partition(b":")
    if kind != b"memory" or len(fields) != 3:
        return b""
    if not fields[2]:
        raise PacketError("there is no pattern to search for")
    first = parse_hex(start)
    end = min(first + parse_hex(fields[1]), client.session.arch.pointer_mask + 1)
    found = find_bytes(client.session, first, end, fields[2])
    return b"0" if found is None else b"1,%x" % found


def find_bytes(session: DebugSession, start: int, end: int, pattern: bytes) -> int | None:
    """Return the first address from `start` on where `pattern` is, all of it before `end`.

    What cannot be read is passed over; a match may lie across chunks but not across holes.
    """
    overlap = len(pattern) - 1
    tail = b""  # the end of the chunk before, when this one adjoins it
    while start + len(pattern) - len(tail) <= end:
        try:
            chunk = session.read_memory(start, min(_CHUNK, end - start))
        except MemoryFault:
            start, tail = _behind_hole(session, start), b""
            continue
        data = tail + chunk
        at = data.find(pattern)
        if at >= 0:
            return start - len(tail) + at
        tail = data[-overlap:] if overlap else b""
        start += len(chunk)
    return None


def _behind_hole(session: DebugSession, address: int) -> int:
    """Return the next address worth a try; `address` cannot be read."""
    following = address - address % _PAGE + _PAGE
    if session.memory_map is None:
        return following
    try:
        region = session.memory_map.region(address)
    except MemoryFault:
        return following
    return following if region.permissions else max(region.end, following)


def checksum_of_memory(client: Client, arguments: bytes) -> bytes:
    """`qCRC:ADDRESS,LENGTH`: the CRC-32 of memory, all of which must be readable.

    The polynomial is 0x04c11db7, taken from the highest bit down, and the start value all
    ones (GDB manual, "General Query Packets"). zlib has the same CRC from the lowest bit up:
    so bits are reversed going in and coming out.
    """
    address, length = parse_hex_pair(arguments)
    crc, end = 0, address + length
    while address < end:
        chunk = client.session.read_memory(address, min(_CHUNK, end - address))
        crc = zlib.crc32(chunk.translate(_REVERSED), crc)
        address += len(chunk)
    reversed_crc = (crc ^ 0xFFFFFFFF).to_bytes(4, "little").translate(_REVERSED)
    return b"C%x" % int.from_bytes(reversed_crc, "big")
