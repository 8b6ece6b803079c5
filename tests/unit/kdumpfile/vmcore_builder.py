"""Small vmcores made in memory: ELF cores and kdump-compressed files, for tests.

Layouts from the System V ABI (ELF), the kernel's struct elf_prstatus, and
makedumpfile's diskdump_mod.h.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.support.note_writer import note

PAGE = 4096
X86_64_MACHINE = 62
AARCH64_MACHINE = 183
RISCV_MACHINE = 243

# The order of elf_gregset_t (arch/x86/include/asm/user_64.h, struct user_regs_struct).
X86_64_REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss "
    "fs_base gs_base ds es fs gs"
).split()
AARCH64_REGISTERS = [*(f"x{i}" for i in range(31)), "sp", "pc", "pstate"]
RISCV64_REGISTERS = (
    "epc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 "
    "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
).split()


def prstatus(pid: int, registers: Mapping[str, int], order: Sequence[str]) -> bytes:
    """An NT_PRSTATUS note: 112 bytes of process data, registers, pr_fpvalid."""
    head = bytearray(112)
    struct.pack_into("<i", head, 32, pid)
    values = (registers.get(name, 0) for name in order)
    body = bytes(head) + struct.pack(f"<{len(order)}Q", *values) + bytes(8)
    return note(b"CORE", 1, body)


def vmcoreinfo(lines: Mapping[str, str]) -> bytes:
    """A VMCOREINFO note."""
    return note(b"VMCOREINFO", 0, text(lines))


def text(lines: Mapping[str, str]) -> bytes:
    """The text of a VMCOREINFO."""
    return "".join(f"{key}={value}\n" for key, value in lines.items()).encode()


@dataclass(frozen=True)
class Segment:
    """A PT_LOAD; `size` in memory may be larger than the data in the file."""

    physical: int
    data: bytes
    virtual: int = 0
    size: int | None = None


def elf_core(
    segments: Sequence[Segment], notes: bytes = b"", machine: int = X86_64_MACHINE, gap: int = 0
) -> bytes:
    """An ELF core; `gap` bytes stand before the data, so that it starts off a page."""
    count = len(segments) + 1
    offset = 64 + 56 * count
    headers = [struct.pack("<IIQQQQQQ", 4, 0, offset, 0, 0, len(notes), len(notes), 0)]
    offset += len(notes) + gap
    for segment in segments:
        size = len(segment.data) if segment.size is None else segment.size
        headers.append(
            struct.pack(
                "<IIQQQQQQ",
                *(1, 7, offset, segment.virtual, segment.physical, len(segment.data), size, 0),
            )
        )
        offset += len(segment.data)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 4, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    data = b"".join(segment.data for segment in segments)
    return header + b"".join(headers) + notes + bytes(gap) + data


@dataclass(frozen=True)
class Kdump:
    """What a kdump-compressed file says of itself."""

    machine: bytes = b"x86_64"
    level: int = 1
    notes: bytes = b""
    vmcoreinfo: bytes = b""
    status: int = 1
    split: tuple[int, int] | None = None
    phys_base: int = 0


def kdump(pages: Mapping[int, bytes], frames: int, about: Kdump | None = None) -> bytes:
    """A kdump-compressed file of `pages` by frame number; the others are left out."""
    about = about or Kdump()
    bitmap_blocks = -(-frames // (8 * PAGE))
    bitmap = bytearray(bitmap_blocks * PAGE)
    for frame in pages:
        bitmap[frame // 8] |= 1 << frame % 8
    payload = about.notes + about.vmcoreinfo
    sub_blocks = -(-(104 + len(payload)) // PAGE)
    notes_at = PAGE + 104
    uts = [b"Linux", b"test", b"6.1.0-test", b"#1 SMP", about.machine, b"(none)"]
    if about.machine in (b"", b"Unknown"):  # what old and new QEMU write
        uts = [about.machine] * 6
    header = struct.pack("<8si", b"KDUMP   ", 6) + b"".join(part.ljust(65, b"\0") for part in uts)
    header = header.ljust(424, b"\0") + struct.pack(
        "<IiiIIIIIIi", about.status, PAGE, sub_blocks, 2 * bitmap_blocks, frames, 0, 0, 0, 0, 1
    )
    first, end = about.split or (0, 0)
    sub = struct.pack(
        "<QiiQQQQQQQQQQQ",
        *(about.phys_base, about.level, int(about.split is not None), first, end),
        *(notes_at + len(about.notes), len(about.vmcoreinfo), notes_at, len(about.notes)),
        *(0, 0, first, end, frames),
    )
    mine = [f for f in sorted(pages) if about.split is None or first <= f < end]
    descriptors, data = [], []
    offset = (1 + sub_blocks + 2 * bitmap_blocks) * PAGE + 24 * len(mine)
    for frame in mine:
        packed = zlib.compress(pages[frame], 1) if about.status & 1 else pages[frame]
        flags = 1 if len(packed) < PAGE else 0
        packed = packed if flags else pages[frame]
        descriptors.append(struct.pack("<QIIQ", offset, len(packed), flags, 0))
        data.append(packed)
        offset += len(packed)
    everything = b"\xff" * len(bitmap)
    return b"".join(
        (
            header.ljust(PAGE, b"\0"),
            (sub + payload).ljust(sub_blocks * PAGE, b"\0"),
            everything,
            bytes(bitmap),
            *descriptors,
            *data,
        )
    )


def flatten(dump: bytes, piece: int = 5000) -> bytes:
    """The same file as makedumpfile's flattened stream."""
    parts = [struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")]
    for offset in range(0, len(dump), piece):
        data = dump[offset : offset + piece]
        parts.append(struct.pack(">qq", offset, len(data)) + data)
    parts.append(struct.pack(">qq", -1, -1))
    return b"".join(parts)


class PageTables:
    """Page tables under construction, in pages taken from `at` on (physical addresses)."""

    def __init__(self, at: int, levels: int = 4, *, leaf: int = 0x3, table: int = 0x3) -> None:
        """Set `leaf` and `table`, the flag bits of entries at the lowest and other levels."""
        self.root = at
        self._levels = levels
        self._leaf, self._table = leaf, table
        self._tables: dict[int, bytearray] = {at: bytearray(PAGE)}

    def map(self, virtual: int, physical: int, *, shift: int = 0) -> None:
        """Map one page; `shift` moves the frame number inside the entry (RISC-V: 2 right)."""
        self.put(virtual, self._entry(physical, self._leaf, shift), shift=shift)

    def put(self, virtual: int, entry: int, *, shift: int = 0) -> None:
        """Store a lowest-level entry as it is."""
        table = self.root
        for level in range(self._levels - 1, 0, -1):
            at = (virtual >> 12 + 9 * level & 511) * 8
            found = int.from_bytes(self._tables[table][at : at + 8], "little")
            if not found:
                fresh = self.root + PAGE * len(self._tables)
                self._tables[fresh] = bytearray(PAGE)
                found = self._entry(fresh, self._table, shift)
                self._tables[table][at : at + 8] = found.to_bytes(8, "little")
            table = (found << shift) & 0x000F_FFFF_FFFF_F000 if shift else found & ~0xFFF
        at = (virtual >> 12 & 511) * 8
        self._tables[table][at : at + 8] = entry.to_bytes(8, "little")

    @staticmethod
    def _entry(physical: int, flags: int, shift: int) -> int:
        return (physical >> shift) | flags

    @property
    def data(self) -> bytes:
        """All tables, in the order of their addresses."""
        return b"".join(bytes(self._tables[at]) for at in sorted(self._tables))
