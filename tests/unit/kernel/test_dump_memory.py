"""DumpMemory: whose page tables are believed, and what serves where there are none."""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, X86_64
from kdump_gdbserver.domain.errors import DumpOpenError, FaultReason, MemoryFault
from kdump_gdbserver.domain.page_tables import Translator
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from tests.support.fake_dump import FakeDump
from tests.support.note_writer import note
from tests.support.page_table_writer import TableWriter, aarch64_paging
from tests.unit.kdumpfile.kdumpfile_support import Machine, write
from tests.unit.kdumpfile.vmcore_builder import (
    AARCH64_REGISTERS,
    PAGE,
    Kdump,
    Segment,
    elf_core,
    flatten,
    kdump,
    prstatus,
    text,
    vmcoreinfo,
)

MACHINE = Machine()


def opened(folder: Path, notes: bytes, vmcoreinfo: bytes | None = None) -> CrashDump:
    core = elf_core([Segment(0, bytes(MACHINE.memory))], notes)
    path = write(folder, core, f"vmcore{len(list(folder.iterdir()))}")
    return KdumpfileOpener().open([path], vmcoreinfo=vmcoreinfo)


def test_tables_that_do_not_lead_to_themselves_are_not_the_kernels(tmp_path: Path) -> None:
    lines = {**MACHINE.vmcoreinfo, "SYMBOL(init_top_pgt)": f"{MACHINE.TEXT + 0x3000:x}"}
    assert DumpMemory(opened(tmp_path, MACHINE.notes)).tables is not None
    dump = opened(tmp_path, MACHINE.registers + vmcoreinfo(lines))
    assert DumpMemory(dump).tables is None


def qemu_note(cr3: int) -> bytes:
    values = bytes(8 + 18 * 8 + 10 * 24) + struct.pack("<6Q", 0x80050033, 0, 0, cr3, 0x6F0, 0)
    return note(b"QEMU", 0, values)


@pytest.mark.parametrize(
    ("roots", "found"),
    [
        ((MACHINE.ROOT, MACHINE.USER_ROOT), MACHINE.ROOT),
        ((MACHINE.USER_ROOT | 0x123, MACHINE.ROOT | 0x456), MACHINE.ROOT),
        ((MACHINE.USER_ROOT, 0x3000), None),  # neither maps the code that the CPU runs
        ((0, 0), None),
    ],
)
def test_without_vmcoreinfo_a_cpu_that_runs_the_kernel_tells_its_tables(
    tmp_path: Path, roots: tuple[int, int], found: int | None
) -> None:
    notes = MACHINE.registers + b"".join(map(qemu_note, roots))
    memory = DumpMemory(opened(tmp_path, notes))
    assert (memory.tables and memory.tables.root) == found
    if found:
        assert memory.kernel().read(MACHINE.VMALLOC, 8) == MACHINE.memory[0x5000:0x5008]


def test_tables_of_a_xen_domain_are_not_walked_and_that_is_said(tmp_path: Path) -> None:
    dump = opened(tmp_path, MACHINE.notes + note(b"Xen", 0x1000002, bytes(8)))
    assert dump.facts.xen
    memory = DumpMemory(dump)
    assert memory.tables is None
    assert memory.trouble is not None and "Xen domain" in memory.trouble
    with pytest.raises(MemoryFault, match="Xen domain"):
        memory.kernel().read(MACHINE.TEXT, 8)


class OnePage(Translator):
    """A translator that knows one kernel page."""

    page_size = PAGE

    def run(self, address: int, end: int) -> tuple[int, int]:
        if address >> 12 != 0xFFFF_8880_0000_0000 >> 12:
            raise MemoryFault(address, FaultReason.UNMAPPED, "not by the library either")
        return 0x5000 + address % PAGE, PAGE - address % PAGE


class WithoutTables(FakeDump):
    """A dump whose VMCOREINFO tells where the tables are, which are not in it."""

    def __init__(self) -> None:
        lines = {"SYMBOL(init_top_pgt)": "ffffffff81000000", "NUMBER(phys_base)": "0"}
        super().__init__(vmcoreinfo=text(lines).decode())
        self.user_end = 1 << 47

    def physical(self) -> AddressSpace:
        return SegmentedAddressSpace({0x5000: b"there"}, FaultReason.TRUNCATED)

    def kernel(self) -> Translator:
        return OnePage()


def test_a_missing_table_is_made_up_for_and_else_said_to_be_missing() -> None:
    kernel = DumpMemory(WithoutTables()).kernel()
    assert kernel.read(0xFFFF_8880_0000_0000, 5) == b"there"
    with pytest.raises(MemoryFault) as caught:
        kernel.read(0xFFFF_8880_0000_1000, 5)
    assert caught.value.detail == "the page table's entry at 0x1000888"


def test_without_any_translation_the_fault_says_what_to_give() -> None:
    class Bare(FakeDump):
        translation = None

    memory = DumpMemory(Bare({"text": (0xFFFFFFFF81000000, b"x")}))
    assert memory.trouble is not None
    for read in (
        lambda: memory.kernel().read(0xFFFFFFFF81000000, 1),
        lambda: memory.process(RootTable(0x1000)),
        lambda: memory.walk(0x1000),
    ):
        with pytest.raises(MemoryFault, match="give its VMCOREINFO"):
            read()


def test_a_root_that_is_virtual_is_found_through_the_kernel(tmp_path: Path) -> None:
    memory = DumpMemory(opened(tmp_path, MACHINE.notes))
    at = MACHINE.TEXT - MACHINE.TEXT_AT + MACHINE.ROOT
    root = RootTable(at, is_virtual=True)
    assert memory.walk(0x1000, root).entries[0].address == MACHINE.ROOT
    with pytest.raises(MemoryFault):
        memory.process(RootTable(MACHINE.VMALLOC + (1 << 30), is_virtual=True))


# --- page sizes -----------------------------------------------------------------------


def aarch64_notes(pages: dict[int, bytes], page_size: int) -> bytes:
    """Lay out an aarch64 kernel's tables in `pages` of 64 KiB; return its notes."""
    base, link = 0x4000_0000, 0xFFFF_8000_8000_0000
    paging = aarch64_paging(page_size, 48)
    writer = TableWriter(paging, base + 0x10000)
    writer.map(link + 0x10000, base + 0x10000)
    writer.map(link, base)
    for at, table in writer.segments.items():
        frame, inside = divmod(at, 0x10000)
        page = bytearray(pages.setdefault(frame, bytes(0x10000)))
        page[inside : inside + len(table)] = table
        pages[frame] = bytes(page)
    lines = {
        "PAGESIZE": str(page_size),
        "NUMBER(VA_BITS)": "48",
        "NUMBER(kimage_voffset)": hex(link - base),
        "NUMBER(TCR_EL1_T1SZ)": "0x10",
        "SYMBOL(swapper_pg_dir)": f"{link + 0x10000:x}",
    }
    return prstatus(7, {"pc": link}, AARCH64_REGISTERS) + vmcoreinfo(lines)


def large_paged(block_size: int, pages: dict[int, bytes], notes: bytes, frames: int) -> bytes:
    """A kdump file in pages of another size than the 4 KiB of the builder."""
    ratio = block_size // PAGE
    small = kdump({}, 8, Kdump(machine=b"", notes=notes, status=0))
    head, sub = bytearray(small[:PAGE]), small[PAGE : 2 * PAGE]
    struct.pack_into("<i", head, 424 + 4, block_size)
    struct.pack_into("<II", head, 424 + 8, 1, 2)
    struct.pack_into("<I", head, 424 + 16, frames)
    sub_header = bytearray(sub.ljust(block_size, b"\0"))
    struct.pack_into("<Q", sub_header, 32, block_size + 104)  # of VMCOREINFO
    struct.pack_into("<Q", sub_header, 48, block_size + 104)  # of the notes
    struct.pack_into("<Q", sub_header, 96, frames)
    bitmap = bytearray(block_size)
    for frame in pages:
        bitmap[frame // 8] |= 1 << frame % 8
    offset = 4 * block_size + 24 * len(pages)
    descriptors = b"".join(
        struct.pack("<QIIQ", offset + n * block_size, block_size, 0, 0) for n in range(len(pages))
    )
    assert ratio >= 1
    data = b"".join(pages[frame] for frame in sorted(pages))
    return b"".join(
        (bytes(head).ljust(block_size, b"\0"), bytes(sub_header), b"\xff" * block_size,
         bytes(bitmap), descriptors, data)
    )  # fmt: skip


def test_qemu_s_large_pages_of_an_aarch64_kernel_with_small_ones(tmp_path: Path) -> None:
    pages: dict[int, bytes] = {0x4000: os.urandom(0x10000)}
    notes = aarch64_notes(pages, 4096)
    data = large_paged(0x10000, pages, notes, 0x4010)
    dump = KdumpfileOpener().open([write(tmp_path, data)], arch=AARCH64.name)
    assert dump.facts.page_size == 4096
    memory = DumpMemory(dump)
    assert memory.kernel().read(0xFFFF_8000_8000_0000, 0x1000) == pages[0x4000][:0x1000]
    assert dump.physical().read(0x4000_8000, 0x8000) == pages[0x4000][0x8000:]
    assert dump.places is not None
    place = dump.places.find(0x4000_1234)
    assert place is not None
    assert (place.inside, place.codec) == (0x1234, None)
    assert dump.translation is None  # the library would mix tables up


@pytest.mark.parametrize("size", [131072, 262144, 64, 0])
def test_a_page_size_that_no_machine_has_is_not_believed(tmp_path: Path, size: int) -> None:
    """libkdumpfile would write a whole page of it into our buffer."""
    lines = {**MACHINE.vmcoreinfo, "PAGESIZE": str(size)}
    core = elf_core([Segment(0, bytes(MACHINE.memory))], MACHINE.registers + vmcoreinfo(lines))
    for data in (core, flatten(core)):
        dump = KdumpfileOpener().open([write(tmp_path, data)])
        assert dump.facts.page_size == PAGE
        kernel = DumpMemory(dump).kernel()
        assert kernel.read(MACHINE.TEXT, 3 * PAGE) == MACHINE.memory[0x100000:0x103000]


@pytest.mark.parametrize("size", [1 << 17, 1 << 18, 12345])
def test_a_kdump_file_whose_pages_are_of_such_a_size_is_refused(tmp_path: Path, size: int) -> None:
    data = bytearray(kdump(MACHINE.pages(), len(MACHINE.pages()), Kdump(notes=MACHINE.notes)))
    struct.pack_into("<i", data, 424 + 4, size)
    with pytest.raises(DumpOpenError) as caught:
        KdumpfileOpener().open([write(tmp_path, bytes(data))])
    assert "\n" not in str(caught.value)


def test_facts_are_typed_and_frozen(tmp_path: Path) -> None:
    dump = opened(tmp_path, MACHINE.notes)
    assert (dump.facts.codec, dump.facts.flattened, dump.facts.xen) == (None, False, False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dump.facts.codec = "zlib"  # type: ignore[misc]
    assert dump.facts.arch is X86_64
