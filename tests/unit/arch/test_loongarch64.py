"""loongarch64 on a made-up dump: an architecture that libkdumpfile does not know."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import LOONGARCH64
from kdump_gdbserver.domain.arch.loongarch64 import table_form
from kdump_gdbserver.domain.errors import DumpOpenError, FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import CrashDumpOpener
from tests.support.elf_core import ElfCoreOpener
from tests.support.page_table_writer import Paging, TableWriter
from tests.support.sessions import GDB, Debugger
from tests.unit.kdumpfile.kdumpfile_support import LIBRARIES, write
from tests.unit.kdumpfile.vmcore_builder import (
    Kdump,
    Segment,
    elf_core,
    kdump,
    prstatus,
    vmcoreinfo,
)

CACHED = 0x9000 << 48
TEXT, ROOT, USER_ROOT, NO_TABLES = 0x20_0000, 0x28_0000, 0x30_0000, 0x38_0000
VMALLOC, USER = 0xFFFF_0000_0200_0000, 0x1_2000_0000
MEMORY = bytearray(random.Random(9).randbytes(0x40_0000))
NAMES = [*(f"r{i}" for i in range(32)), "orig_a0", "pc", "badv", *(f"csr{i}" for i in range(10))]
CONFIGURATIONS = [(16384, 3), (16384, 2), (4096, 3), (4096, 4), (65536, 2)]


def paging(page_size: int, levels: int) -> Paging:
    return Paging(
        "loongarch64",
        table_form(page_size, levels),
        lambda physical, level: CACHED | physical,
        lambda physical, level: physical | (0x1D1 if level > 1 else 0x191),
        2,
    )


def machine(page_size: int, levels: int) -> bytes:
    """Lay out memory with tables as the kernel has them: empty entries lead to empty tables."""
    memory = bytearray(MEMORY)
    page = page_size.bit_length() - 1
    empty = [NO_TABLES + (n << page) for n in range(levels - 1)]  # of level 1, 2, ...

    def store(at: int, table: bytes, level: int) -> None:
        filler = CACHED | empty[level - 2] if level > 1 else 0
        for offset in range(0, page_size, 8):
            entry = int.from_bytes(table[offset : offset + 8], "little") or filler
            memory[at + offset : at + offset + 8] = entry.to_bytes(8, "little")

    for number, at in enumerate(empty):
        store(at, bytes(page_size), number + 1)
    for root, virtual in ((ROOT, VMALLOC), (USER_ROOT, USER)):
        writer = TableWriter(paging(page_size, levels), root)
        writer.map(virtual, 0x4_0000)
        writer.map(virtual + page_size, 0x2_0000)
        writer.put(virtual + 2 * page_size, 0x5_0000 | 0x410)  # PROT_NONE
        writer.put(virtual + 3 * page_size, 0x1234 << 24 | 0x10000)  # swapped out
        for depth, (at, table) in enumerate(writer.tables.items()):
            store(at, bytes(table), levels - depth)
    return bytes(memory)


def notes(page_size: int) -> bytes:
    values = {name: 0x1000 + i for i, name in enumerate(NAMES)} | {"pc": CACHED | TEXT | 0x40}
    lines = {
        "OSRELEASE": "6.12.0-test",
        "PAGESIZE": str(page_size),
        "SYMBOL(swapper_pg_dir)": f"{CACHED | ROOT:x}",
        "SYMBOL(_stext)": f"{CACHED | TEXT:x}",
    }
    return prstatus(42, values, NAMES) + vmcoreinfo(lines)


@pytest.fixture(params=[ElfCoreOpener, *LIBRARIES])
def opener(request: pytest.FixtureRequest) -> CrashDumpOpener:
    made: CrashDumpOpener = (
        request.param() if request.param is ElfCoreOpener else KdumpfileOpener(request.param)
    )
    return made


@pytest.mark.parametrize(("page_size", "levels"), CONFIGURATIONS)
def test_a_dump_opens_walks_and_shows_registers(
    opener: CrashDumpOpener, tmp_path: Path, page_size: int, levels: int
) -> None:
    memory = machine(page_size, levels)
    core = elf_core([Segment(0, memory)], notes(page_size), LOONGARCH64.elf_machine)
    dump = opener.open([write(tmp_path, core)])
    assert (dump.facts.arch, dump.facts.page_size) == (LOONGARCH64, page_size)
    spaces = DumpMemory(dump)
    assert spaces.tables is not None
    assert spaces.tables.form.levels == levels
    kernel, process = spaces.kernel(), spaces.process(RootTable(CACHED | USER_ROOT, True))
    assert kernel.read(CACHED | TEXT, 100_000) == memory[TEXT : TEXT + 100_000]
    assert kernel.read(0x8000 << 48 | 0x1234, 8) == memory[0x1234:0x123C]
    for space, at in ((kernel, VMALLOC), (process, USER)):
        both = memory[0x4_0000:][:page_size] + memory[0x2_0000:][:page_size]
        assert space.read(at, 2 * page_size) == both
        with pytest.raises(MemoryFault) as caught:
            space.read(at - 8, 8)
        assert caught.value.reason is FaultReason.UNMAPPED
    assert process.read(USER + 2 * page_size, 8) == memory[0x5_0000:0x5_0008]
    with pytest.raises(MemoryFault) as caught:
        process.read(USER + 3 * page_size, 8)
    assert caught.value.reason is FaultReason.SWAPPED
    debugger = Debugger(open_kernel_view(dump))
    debugger.start(*GDB)
    pc, badv = (CACHED | TEXT | 0x40).to_bytes(8, "little"), (0x1000 + 34).to_bytes(8, "little")
    assert debugger.data(b"g")[33 * 16 :] == (pc + badv).hex().encode()
    assert debugger.data(b"m%x,8" % VMALLOC) == memory[0x4_0000:0x4_0008].hex().encode()
    shown = debugger.monitor(f"vtop {VMALLOC:#x}").splitlines()
    assert len(shown) >= levels + 2
    assert f"physical  0x40000, in a page of {page_size >> 10} KiB" in shown
    windowed = debugger.monitor(f"vtop {CACHED | TEXT:#x}").splitlines()
    assert windowed[1] == "physical  0x200000, without a page table"
    assert b"<architecture>loongarch64</architecture>" in debugger.object(
        b"features", b"target.xml"
    )
    dump.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_compressed_dump_is_served_or_refused_in_one_line(
    tmp_path: Path, library: str | None
) -> None:
    memory = machine(4096, 3)
    pages = {n: memory[n * 4096 :][:4096] for n in range(len(memory) // 4096)}
    data = kdump(pages, len(pages), Kdump(machine=b"loongarch64", notes=notes(4096)))
    try:
        dump = KdumpfileOpener(library).open([write(tmp_path, data)])
    except DumpOpenError as error:
        assert "\n" not in str(error)
        return
    assert DumpMemory(dump).kernel().read(VMALLOC, 8) == memory[0x4_0000:0x4_0008]
    assert dump.cpu_notes()[0].registers["pc"] == CACHED | TEXT | 0x40


def test_large_pages() -> None:
    form = table_form(16384, 3)
    kind, start, size = form.decode(0x200_0000 | 0x1D1, 2)
    assert (kind.name, start, size) == ("PAGE", 0x200_0000, 32 << 20)


@pytest.mark.parametrize("first", [0x9000_0000_0028_0000, 0, 0x1234])
def test_tables_without_a_bottom_are_not_believed(first: int) -> None:
    """Their depth is told by following first entries; a loop has none."""
    memory = bytearray(MEMORY)
    memory[ROOT : ROOT + 8] = first.to_bytes(8, "little")
    info = Vmcoreinfo({"PAGESIZE": "16384", "SYMBOL(swapper_pg_dir)": f"{CACHED | ROOT:x}"})
    assert LOONGARCH64.paging is not None
    space = SegmentedAddressSpace({0: bytes(memory)})
    assert LOONGARCH64.paging.find(info, space) is None
