"""A made-up x86_64 machine as an ELF vmcore: random bytes, then as many zeros."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from tests.unit.kdumpfile.vmcore_builder import (
    PAGE,
    X86_64_REGISTERS,
    Segment,
    elf_core,
    prstatus,
    vmcoreinfo,
)

MIB = 1 << 20
DIRECT_MAP = 0xFFFF_8880_0000_0000
_TEXT_MAP = 0xFFFF_FFFF_8000_0000
_LARGE_PAGE = 2 * MIB
_ROOT = 0x10_0000
RELEASE = "6.1.0-bench"


def _tables(ram: int) -> bytes:
    """Page tables from `_ROOT` on: RAM in large pages, as the kernel's direct map and text.

    Intel SDM volume 3, "4-Level Paging": bit 0 present, bit 1 writable, bit 7 large page.
    """
    root, direct_1g, direct_2m, text_1g, text_2m = (bytearray(PAGE) for _ in range(5))

    def put(table: bytearray, index: int, physical: int, flags: int = 0x3) -> None:
        struct.pack_into("<Q", table, index * 8, physical | flags)

    put(root, DIRECT_MAP >> 39 & 511, _ROOT + PAGE)
    put(direct_1g, 0, _ROOT + 2 * PAGE)
    put(root, _TEXT_MAP >> 39 & 511, _ROOT + 3 * PAGE)
    put(text_1g, _TEXT_MAP >> 30 & 511, _ROOT + 4 * PAGE)
    for at in range(0, ram, _LARGE_PAGE):
        put(direct_2m, at // _LARGE_PAGE, at, 0x83)
        put(text_2m, at // _LARGE_PAGE, at, 0x83)
    return b"".join((root, direct_1g, direct_2m, text_1g, text_2m))


def random_bytes(size: int) -> bytes:
    """The bytes that cannot be packed; the same ones every time."""
    return random.Random(20).randbytes(size)


def write_dump(path: Path, size: int) -> tuple[int, int]:
    """Write the dump; return the kernel addresses of the random bytes and of the zeros."""
    start = 16 * MIB
    ram = start + 2 * size
    low = bytearray(start)
    tables = _tables(ram)
    low[_ROOT : _ROOT + len(tables)] = tables
    notes = prstatus(1, {"rip": _TEXT_MAP + start}, X86_64_REGISTERS) + vmcoreinfo(
        {
            "OSRELEASE": RELEASE,
            "PAGESIZE": str(PAGE),
            "SYMBOL(init_top_pgt)": f"{_TEXT_MAP + _ROOT:x}",
            "SYMBOL(swapper_pg_dir)": f"{_TEXT_MAP + _ROOT:x}",
            "SYMBOL(_stext)": f"{_TEXT_MAP + start:x}",
            "NUMBER(pgtable_l5_enabled)": "0",
            "NUMBER(phys_base)": "0",
            "KERNELOFFSET": "0",
        }
    )
    memory = b"".join((low, random_bytes(size), bytes(size)))
    path.write_bytes(elf_core([Segment(0, memory)], notes))
    return DIRECT_MAP + start, DIRECT_MAP + start + size
