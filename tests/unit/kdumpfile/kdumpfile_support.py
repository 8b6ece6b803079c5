"""The libraries that the kdumpfile tests run against, and a small x86_64 machine."""

from __future__ import annotations

import os
import random
from ctypes.util import find_library
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile.library.loading import drgn_wheel_copies
from tests.unit.kdumpfile.vmcore_builder import (
    PAGE,
    X86_64_REGISTERS,
    PageTables,
    Segment,
    elf_core,
    prstatus,
    text,
    vmcoreinfo,
)

ANOTHER = "KDUMP_GDBSERVER_LIBKDUMPFILE"


def _wheel() -> str | None:
    copies = drgn_wheel_copies()
    return str(copies[0]) if copies else None


def _another() -> str | None:
    return os.environ.get(ANOTHER) or find_library("kdumpfile")


LIBRARIES = [
    pytest.param(
        _wheel(),
        id="drgn-wheel",
        marks=pytest.mark.skipif(_wheel() is None, reason="drgn is not installed from a wheel"),
    ),
    pytest.param(
        _another(),
        id="another",
        marks=pytest.mark.skipif(
            _another() is None,
            reason=f"install libkdumpfile10, or set {ANOTHER} to another libkdumpfile",
        ),
    ),
]


def noise(pages: int, seed: int = 1) -> bytes:
    """Page contents in which no two places look the same."""
    return random.Random(seed).randbytes(pages * PAGE)


class Machine:
    """A 4-level x86_64 machine: 256 pages of RAM, one kernel page table and one process.

    `TEXT` is where the kernel's text is mapped (by libaddrxlat's own rule from
    phys_base on), `VMALLOC` a page mapped through the table only.
    """

    TEXT = 0xFFFF_FFFF_8100_0000
    TEXT_AT = 0x10_0000
    VMALLOC = 0xFFFF_C900_0000_1000
    USER = 0x40_0000
    SWAPPED = 0x40_3000
    HIDDEN = 0x40_4000
    ROOT = 0x8_0000
    USER_ROOT = 0xA_0000
    RAM = 512 * PAGE

    def __init__(self) -> None:
        self.memory = bytearray(noise(512))
        kernel = PageTables(self.ROOT)
        for page in range(16):
            kernel.map(self.TEXT + page * PAGE, self.TEXT_AT + page * PAGE)
        kernel.map(self.VMALLOC, 0x5000)
        kernel.map(self.VMALLOC + PAGE, 0x9000)
        self._store(self.ROOT, kernel.data)
        user = PageTables(self.USER_ROOT, leaf=0x7, table=0x7)
        user.map(self.USER, 0x7000)
        user.map(self.USER + PAGE, 0x6000)
        user.put(self.SWAPPED, 0x1234_0000_0000_0E02)
        user.put(self.HIDDEN, ~0x3000 & 0x000F_FFFF_FFFF_F000 | 0x100)
        user.map(0x7FFF_FFFF_F000, 0x4000)
        user.map(0x7000_0000_0000, 0x4000_0000)  # no such memory in the dump
        self._store(self.USER_ROOT, user.data)
        self.vmcoreinfo = {
            "OSRELEASE": "6.1.0-test",
            "PAGESIZE": "4096",
            "SYMBOL(init_top_pgt)": f"{self.TEXT - self.TEXT_AT + self.ROOT:x}",
            "SYMBOL(swapper_pg_dir)": f"{self.TEXT - self.TEXT_AT + self.ROOT:x}",
            "SYMBOL(_stext)": f"{self.TEXT:x}",
            "NUMBER(pgtable_l5_enabled)": "0",
            "NUMBER(phys_base)": str(self.TEXT_AT - (self.TEXT - 0xFFFF_FFFF_8000_0000)),
            "KERNELOFFSET": "0",
        }
        # The table itself is reached through the text mapping, as in the kernel.
        for page in range(32):
            kernel.map(self.TEXT - self.TEXT_AT + self.ROOT + page * PAGE, self.ROOT + page * PAGE)
        self._store(self.ROOT, kernel.data)

    def _store(self, at: int, data: bytes) -> None:
        self.memory[at : at + len(data)] = data

    @property
    def registers(self) -> bytes:
        """The prstatus notes of two CPUs."""
        values = {name: 0x1000 + i for i, name in enumerate(X86_64_REGISTERS)}
        first = prstatus(4711, values | {"rip": self.TEXT, "gs_base": 1 << 63}, X86_64_REGISTERS)
        return first + prstatus(0, {"rip": self.TEXT + 8}, X86_64_REGISTERS)

    @property
    def notes(self) -> bytes:
        """All notes of the dump."""
        return self.registers + vmcoreinfo(self.vmcoreinfo)

    @property
    def text(self) -> bytes:
        """The VMCOREINFO as text."""
        return text(self.vmcoreinfo)

    def elf(self, **options: int) -> bytes:
        """The machine as an ELF core, with p_vaddr the physical address as QEMU writes it."""
        return elf_core([Segment(0, bytes(self.memory))], self.notes, **options)

    def pages(self) -> dict[int, bytes]:
        """The machine's memory by page frame number."""
        return {
            at // PAGE: bytes(self.memory[at : at + PAGE])
            for at in range(0, len(self.memory), PAGE)
        }


def write(directory: Path, data: bytes, name: str = "vmcore") -> str:
    """Write a dump file and return its path."""
    path = directory / name
    path.write_bytes(data)
    return str(path)
