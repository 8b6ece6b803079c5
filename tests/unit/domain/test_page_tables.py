"""Page tables: what the walker finds is what was mapped, for every form, and it always ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain import page_tables
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, RISCV64, X86_64, Arch
from kdump_gdbserver.domain.arch.paging import EntryKind, TableForm, Window
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_tables import PageTables, TableCache
from kdump_gdbserver.domain.virtual_memory import VirtualMemory
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.page_table_writer import (
    PAGINGS,
    Paging,
    TableWriter,
    aarch64_paging,
    riscv64_paging,
    x86_64_paging,
)

ROOT = 0x10_0000
ALL = (1 << 64) - 1
every_paging = pytest.mark.parametrize("paging", PAGINGS, ids=lambda paging: paging.name)


class Counting(AddressSpace):
    """Physical memory that counts its reads."""

    def __init__(self, below: AddressSpace) -> None:
        self.below = below
        self.reads: list[tuple[int, int]] = []

    def read(self, address: int, length: int) -> bytes:
        self.reads.append((address, length))
        return self.below.read(address, length)


def memory_of(*writers: TableWriter, data: dict[int, bytes] | None = None) -> Counting:
    segments = {at: table for writer in writers for at, table in writer.segments.items()}
    return Counting(SegmentedAddressSpace({**segments, **(data or {})}, FaultReason.EXCLUDED))


def kernel_address(form: TableForm, low: int) -> int:
    """Return an address of the kernel's that has these low bits, behind what needs no tables."""
    if form.windows:
        low |= 1 << form.bits - 1
    if form.split:
        return form.prefixes[1] << form.bits | low
    return -1 << form.bits - 1 & ALL | low


def tables_of(writer: TableWriter, upper: bool = True) -> PageTables:
    paging = writer.paging
    memory = memory_of(writer)
    return PageTables(paging.form, writer.root, memory, paging.byte_order, upper=upper)


def mappings(
    paging: Paging, dice: random.Random, count: int
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return random mappings: virtual address and size to level and physical address."""
    form = paging.form
    bases = [
        kernel_address(form, dice.getrandbits(form.bits - 1)) >> form.page_shift for _ in range(4)
    ]
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for _ in range(count):
        level = dice.choice([1] * 6 + list(range(2, min(paging.largest, form.levels) + 1)))
        size = 1 << form.shift(level)
        virtual = (dice.choice(bases) + dice.randrange(40) << form.page_shift) & ALL & -size
        if any(virtual < at + other and at < virtual + size for at, other in found):
            continue
        found[virtual, size] = level, dice.getrandbits(paging.address_bits) & -size
    return found


@every_paging
@given(seed=st.integers(0, 1 << 32))
def test_addresses_lead_where_they_were_mapped_and_nowhere_else(paging: Paging, seed: int) -> None:
    dice = random.Random(seed)
    writer, mapped = TableWriter(paging, ROOT), mappings(paging, dice, 30)
    for (virtual, _), (level, physical) in mapped.items():
        writer.map(virtual, physical, level)
    tables = tables_of(writer)
    page = paging.form.page_size
    for (virtual, size), (_, physical) in mapped.items():
        inside = dice.randrange(size)
        walk = tables.walk(virtual + inside)
        assert (walk.physical, walk.page_size) == (physical + inside, size)
        for start in (virtual - page, virtual, virtual + size - page, virtual + size):
            length = min(dice.randrange(1, 20 * page), 2**64 - start)
            if start > 0 and length > 0:
                follow(tables, start, length, mapped)


def follow(
    tables: PageTables,
    start: int,
    length: int,
    mapped: dict[tuple[int, int], tuple[int, int]],
) -> None:
    """Check a run against the pages that were mapped, and that a walk says the same."""

    def truth(address: int) -> int | None:
        for (virtual, size), (_, physical) in mapped.items():
            if virtual <= address < virtual + size:
                return physical + address - virtual
        return None

    expected, walk = truth(start), tables.walk(start)
    assert walk.physical == expected
    if expected is None:
        with pytest.raises(MemoryFault) as caught:
            tables.run(start, start + length)
        assert (caught.value.address, caught.value.reason) == (start, FaultReason.UNMAPPED)
        assert caught.value.detail == walk.detail
        return
    where, there = tables.run(start, start + length)
    assert where == expected
    assert 1 <= there <= length
    page = tables.page_size
    for at in range(0, there, page):
        assert truth(start + at) == where + at


def test_pages_that_adjoin_in_memory_are_one_run_up_to_the_table_s_end() -> None:
    for paging in PAGINGS:
        form = paging.form
        base = kernel_address(form, 0)
        writer = TableWriter(paging, ROOT)
        for page in range(24):
            writer.map(base + page * form.page_size, 0x400_0000 + page * form.page_size)
        tables = tables_of(writer)
        end = base + 64 * form.page_size
        assert tables.run(base + 7, end) == (0x400_0007, 24 * form.page_size - 7), paging.name


def test_permissions_and_holes_end_a_run() -> None:
    paging = riscv64_paging(39)
    base = kernel_address(paging.form, 0)
    writer = TableWriter(paging, ROOT)
    for page in range(4):
        writer.map(base + page * 4096, 0x8000_0000 + page * 4096)
    writer.put(base + 2 * 4096, (0x8000_2000 >> 2) | 0xC1)  # valid, but no page at the lowest level
    assert tables_of(writer).run(base, base + (1 << 20)) == (0x8000_0000, 2 * 4096)


def test_a_napot_page_of_riscv_is_64_kib_in_sixteen_entries() -> None:
    paging = riscv64_paging(48)
    base = kernel_address(paging.form, 0x10_0000)
    writer = TableWriter(paging, ROOT)
    for page in range(16):
        writer.put(base + page * 4096, 1 << 63 | (0x9000_0000 | 0x8000) >> 2 | 0xCF)
    writer.put(base + 16 * 4096, 1 << 63 | (0x9001_0000 | 0x4000) >> 2 | 0xCF)  # no size there is
    tables = tables_of(writer)
    assert tables.run(base + 0x3456, base + (1 << 20)) == (0x9000_3456, 0x10000 - 0x3456)
    assert tables.walk(base + 0xF00F).page_size == 0x10000
    assert tables.walk(base + 0x10000).fault is FaultReason.UNMAPPED


@pytest.mark.parametrize(
    ("paging", "entry", "level"),
    [
        (x86_64_paging(4), 0x83, 4),  # no pages of 512 GiB
        (riscv64_paging(39), 0x1000 >> 2 | 0xCF, 2),  # a large page that is not aligned
        (riscv64_paging(39), 0x80_0000 >> 2 | 0x1, 1),  # a table below the lowest
        (aarch64_paging(4096, 48), 0x8000_0001, 1),  # reserved
        (aarch64_paging(4096, 48), 0x8000_0401, 4),  # no blocks of 512 GiB
        (aarch64_paging(16384, 47), 0x8000_0401, 3),
    ],
)
def test_entries_that_the_hardware_refuses_lead_nowhere(
    paging: Paging, entry: int, level: int
) -> None:
    writer = TableWriter(paging, ROOT)
    address = kernel_address(paging.form, 0)
    writer.put(address, entry, level)
    walk = tables_of(writer).walk(address)
    assert walk.fault is FaultReason.UNMAPPED
    assert [(step.level, step.value) for step in walk.entries][-1] == (level, entry)


def test_swapped_and_hidden_pages_are_told_apart() -> None:
    paging = x86_64_paging(4)
    base = 0x40_0000
    writer = TableWriter(paging, ROOT)
    writer.put(base, 0x1234_0000_0000_0E02)
    for page in (1, 2):  # hidden ones count down: they are inverted
        writer.put(base + page * 4096, ~(0x5000 - page * 4096) & 0x000F_FFFF_FFFF_F000 | 0x100)
    writer.put(base + (1 << 21), ~0x4020_0000 & 0x000F_FFFF_FFFF_F000 | 0x180, level=2)
    tables = tables_of(writer, upper=False)
    with pytest.raises(MemoryFault, match=r"swapped out \(Page not present: pte\[0\] = 0x1234"):
        tables.run(base, base + 4096)
    assert tables.run(base + 4096 + 5, base + 12288) == (0x4005, 4096 - 5)
    assert tables.run(base + 2 * 4096, base + 12288) == (0x3000, 4096)
    assert tables.run(base + (1 << 21) + 9, base + (1 << 22))[0] == 0x4020_0009


def test_of_the_kernel_no_page_is_swapped_out_or_hidden() -> None:
    """What it frees of itself keeps entries that look like those, without the present bit."""
    paging = x86_64_paging(4)
    base = kernel_address(paging.form, 0x40_0000)
    writer = TableWriter(paging, ROOT)
    for page, entry in enumerate((0x8000_0000_1234_5062, ~0x5000 & 0x000F_FFFF_FFFF_F000 | 0x100)):
        writer.put(base + page * 4096, entry)
        with pytest.raises(MemoryFault) as caught:
            tables_of(writer).run(base + page * 4096, ALL)
        assert caught.value.reason is FaultReason.UNMAPPED


@every_paging
@given(seed=st.integers(0, 1 << 32))
def test_a_hostile_table_ends_every_walk(paging: Paging, seed: int) -> None:
    """Whatever the tables hold, a walk takes as many steps as there are levels, at most."""
    dice = random.Random(seed)
    form = paging.form
    size = 8 << max(form.widths)
    targets = [ROOT, ROOT + size, ROOT + 2 * size, 1 << 47, 0]

    def entry() -> int:
        kind = dice.randrange(4)
        if kind == 0:
            return dice.getrandbits(64)
        if kind == 1:
            return paging.page(dice.choice(targets), dice.randrange(1, 4))
        return paging.table(dice.choice(targets), 2) | dice.choice((0, 0, 1 << dice.randrange(64)))

    segments = {
        ROOT + n * size: b"".join(
            entry().to_bytes(8, "little") for _ in range(64)
        ) * (size // 512)
        for n in range(3)
    }  # fmt: skip
    physical = SegmentedAddressSpace(segments, FaultReason.EXCLUDED)
    tables = PageTables(form, ROOT, physical)
    for _ in range(20):
        address = kernel_address(form, dice.getrandbits(form.bits - 1))
        walk = tables.walk(address)
        assert len(walk.entries) <= form.levels
        assert (walk.physical is None) == (walk.fault is not None)
        end = min(address + 100_000, 1 << 64)
        try:
            where, there = tables.run(address, end)
        except MemoryFault as fault:
            assert (fault.address, fault.reason, fault.detail) == (
                address, walk.fault, walk.detail
            )  # fmt: skip
        else:
            assert where == walk.physical
            assert 1 <= there <= end - address


@every_paging
def test_what_no_table_covers_is_not_mapped(paging: Paging) -> None:
    form = paging.form
    writer = TableWriter(paging, ROOT)
    for top in (0, (1 << form.widths[-1]) - 1):  # both ends of the top table
        writer.map(kernel_address(form, top << form.shift(form.levels)) & ALL, 0x8000)
    outside = [1 << 62, 1 << form.bits, (1 << form.bits) + (1 << form.bits - 1)]
    for upper in (True, False):
        tables = tables_of(writer, upper=upper)
        for address in outside:
            walk = tables.walk(address)
            assert (walk.entries, walk.fault) == ((), FaultReason.UNMAPPED)
            with pytest.raises(MemoryFault, match="too big"):
                tables.run(address, address + 8)
    if form.split and form.prefixes[1]:
        assert tables_of(writer, upper=True).walk(0).entries == ()
        assert tables_of(writer, upper=False).walk(ALL).entries == ()


def test_tables_are_read_once_and_whole_and_shared() -> None:
    paging = x86_64_paging(4)
    base = kernel_address(paging.form, 0)
    writer = TableWriter(paging, ROOT)
    for page in range(512):
        writer.map(base + page * 4096, 0x4000_0000 + (page ^ 1) * 4096)
    physical, cache = memory_of(writer), TableCache()
    tables = PageTables(paging.form, ROOT, physical, cache=cache)
    for page in range(512):
        assert tables.run(base + page * 4096, ALL)[0] == 0x4000_0000 + (page ^ 1) * 4096
    assert sorted(physical.reads) == [(at, 4096) for at in sorted(writer.tables)]
    PageTables(paging.form, ROOT, physical, cache=cache).run(base, base + 1)
    assert len(physical.reads) == 4


def test_the_cache_and_the_leaves_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_tables, "TABLE_BYTES_KEPT", 8 * 4096)
    monkeypatch.setattr(page_tables, "LEAVES_REMEMBERED", 4)
    paging = x86_64_paging(4)
    base = kernel_address(paging.form, 0)
    writer = TableWriter(paging, ROOT)
    for number in range(40):
        writer.map(base + (number << 21), 0x1000 * number)
    cache = TableCache()
    tables = PageTables(paging.form, ROOT, memory_of(writer), cache=cache)
    for turn in range(2):
        for number in range(40):
            assert tables.run(base + (number << 21) + turn, ALL)[0] == 0x1000 * number + turn
            assert len(cache._tables) <= 8
            assert cache._bytes == 4096 * len(cache._tables)
            assert len(tables._leaves) <= 4


@pytest.mark.parametrize("kept", range(0, 4097, 256))
def test_a_table_of_which_a_part_is_there_is_used_so_far(kept: int) -> None:
    paging = x86_64_paging(4)
    base = kernel_address(paging.form, 0)
    writer = TableWriter(paging, ROOT)
    for page in range(512):
        writer.map(base + page * 4096, 0x4000_0000 + page * 4096)
    segments = writer.segments
    lowest = max(segments)
    segments[lowest] = segments[lowest][: kept + 3]  # an entry is torn
    physical = SegmentedAddressSpace(segments, FaultReason.TRUNCATED)
    tables = PageTables(paging.form, ROOT, physical)
    for entry in (kept // 8 - 1, kept // 8, kept // 8 + 1):
        address = base + entry * 4096
        if entry < 0 or entry >= 512:
            continue
        walk = tables.walk(address)
        if entry < kept // 8:
            assert walk.physical == 0x4000_0000 + entry * 4096
            assert tables.run(address, ALL)[0] == walk.physical
            continue
        assert walk.fault is FaultReason.TRUNCATED
        missing = lowest + (kept + 3 if entry == kept // 8 else entry * 8)
        assert walk.detail == f"the page table's entry at {missing:#x}"
        with pytest.raises(MemoryFault) as caught:
            tables.run(address, address + 8)
        assert (caught.value.reason, caught.value.detail) == (walk.fault, walk.detail)


def test_windows_are_mapped_without_tables() -> None:
    form = x86_64_paging(4).form
    window = Window(0x9000 << 48, 0x9001 << 48, 0)
    windowed = TableForm(12, form.widths, form.decode, run_mask=0, run_step=0, windows=(window,))
    tables = PageTables(windowed, ROOT, SegmentedAddressSpace({}, FaultReason.EXCLUDED))
    assert tables.run(0x9000_0000_0012_3456, ALL)[0] == 0x12_3456
    walk = tables.walk(0x9000_0000_0012_3456)
    assert (walk.entries, walk.physical, walk.span) == ((), 0x12_3456, 1 << 48)
    with pytest.raises(MemoryFault, match="too big"):
        tables.run(0x9001 << 48, ALL)


@given(
    seed=st.integers(0, 1 << 32),
    reads=st.lists(
        st.tuples(st.integers(0, 24 * 4096), st.integers(0, 12 * 4096)), min_size=1, max_size=10
    ),
)
def test_virtual_memory_is_the_bytes_behind_the_tables(
    seed: int, reads: list[tuple[int, int]]
) -> None:
    dice = random.Random(seed)
    paging = x86_64_paging(4)
    base = kernel_address(paging.form, 0x20_0000 - 12 * 4096)  # over the end of a table
    writer, frames = TableWriter(paging, ROOT), list(range(0x4000, 0x4020))
    content = {frame * 4096: dice.randbytes(4096) for frame in frames if dice.random() < 0.95}
    if dice.random() < 0.5:
        dice.shuffle(frames)
    virtual: dict[int, bytes] = {}
    for page in range(24):
        if dice.random() < 0.9:
            writer.map(base + page * 4096, frames[page] * 4096)
            virtual[base + page * 4096] = content.get(frames[page] * 4096, b"")
    physical = memory_of(writer, data=content)
    space = VirtualMemory(physical, PageTables(paging.form, ROOT, physical), 1 << 63, 1 << 64)
    truth = SegmentedAddressSpace(virtual)
    for start, length in reads:
        try:
            expected = truth.read(base + start, length)
        except MemoryFault as hole:
            with pytest.raises(MemoryFault) as caught:
                space.read(base + start, length)
            assert caught.value.address == hole.address
        else:
            assert space.read(base + start, length) == expected
    with pytest.raises(MemoryFault, match="outside the address space"):
        space.read(0x1000, 8)


# --- finding the kernel's tables ------------------------------------------------------

NOTHING = SegmentedAddressSpace({})


def info_of(**lines: str) -> Vmcoreinfo:
    return Vmcoreinfo({key.replace("__", "(") + (")" if "__" in key else ""): value
                       for key, value in lines.items()})  # fmt: skip


X86_INFO = {
    "SYMBOL__init_top_pgt": "ffffffff82a10000",
    "NUMBER__phys_base": "-16777216",
    "NUMBER__pgtable_l5_enabled": "0",
}
ARM_INFO = {
    "SYMBOL__swapper_pg_dir": "ffffb8c8e2f8e000",
    "NUMBER__kimage_voffset": "0xffffb8c8a0000000",
    "NUMBER__VA_BITS": "48",
    "NUMBER__TCR_EL1_T1SZ": "0x10",
    "PAGESIZE": "4096",
}
RISCV_INFO = {
    "SYMBOL__swapper_pg_dir": "ffffffff81a00000",
    "NUMBER__va_kernel_pa_offset": "0xfffffffeffe00000",
    "NUMBER__VA_BITS": "57",
}


@pytest.mark.parametrize(
    ("arch", "lines", "root", "bits", "page_shift"),
    [
        (X86_64, X86_INFO, 0x1A1_0000, 48, 12),
        (X86_64, {**X86_INFO, "NUMBER__pgtable_l5_enabled": "1"}, 0x1A1_0000, 57, 12),
        (AARCH64, ARM_INFO, 0x42F8_E000, 48, 12),
        (AARCH64, {**ARM_INFO, "PAGESIZE": "65536", "NUMBER__VA_BITS": "52"}, 0x42F8_E000, 48, 16),
        (AARCH64, {**ARM_INFO, "PAGESIZE": "16384", "NUMBER__TCR_EL1_T1SZ": "0x11"},
         0x42F8_E000, 47, 14),
        (RISCV64, RISCV_INFO, 0x81C0_0000, 57, 12),
        (RISCV64, {"NUMBER__satp": "0x9000000000081b00"}, 0x81B0_0000, 48, 12),
    ],
)  # fmt: skip
def test_vmcoreinfo_leads_to_the_kernels_tables(
    arch: Arch, lines: dict[str, str], root: int, bits: int, page_shift: int
) -> None:
    assert arch.paging is not None
    found = arch.paging.find(info_of(**lines), NOTHING)
    assert found is not None
    assert (found.root, found.form.bits, found.form.page_shift) == (root, bits, page_shift)


@pytest.mark.parametrize(
    ("arch", "lines", "gone"),
    [(X86_64, X86_INFO, key) for key in ("SYMBOL__init_top_pgt", "NUMBER__phys_base")]
    + [(AARCH64, ARM_INFO, key) for key in ARM_INFO if key != "NUMBER__TCR_EL1_T1SZ"]
    + [(RISCV64, RISCV_INFO, key) for key in RISCV_INFO],
)
def test_without_a_line_that_is_needed_there_are_none(
    arch: Arch, lines: dict[str, str], gone: str
) -> None:
    left = {key: value for key, value in lines.items() if key != gone}
    assert arch.paging is not None
    assert arch.paging.find(info_of(**left), NOTHING) is None


def test_what_cannot_be_proved_is_left_out() -> None:
    """A kernel made for 52 bits runs on CPUs that have 48: which, only T1SZ tells."""
    assert AARCH64.paging is not None
    wide = {**ARM_INFO, "NUMBER__VA_BITS": "52"}
    del wide["NUMBER__TCR_EL1_T1SZ"]
    assert AARCH64.paging.find(info_of(**wide), NOTHING) is None
    for phys_base in ("1", "-9223372036854775808", str(1 << 62)):
        lines = {**X86_INFO, "NUMBER__phys_base": phys_base}
        assert X86_64.paging is not None
        assert X86_64.paging.find(info_of(**lines), NOTHING) is None


def test_sme_s_bit_is_part_of_no_address() -> None:
    assert X86_64.paging is not None
    found = X86_64.paging.find(info_of(**X86_INFO, NUMBER__sme_mask=str(1 << 47)), NOTHING)
    assert found is not None
    assert found.form.decode(1 << 47 | 0x1234_5003, 1) == (EntryKind.PAGE, 0x1234_5000, 4096)


def test_a_cpu_s_registers_lead_to_its_tables() -> None:
    assert X86_64.paging is not None
    assert X86_64.paging.of_cpu is not None
    found = X86_64.paging.of_cpu({"cr3": 0x1_0ABC_DFFF, "cr4": 0x1000})
    assert found is not None
    assert (found.root, found.form.levels) == (0x1_0ABC_D000, 5)
    assert X86_64.paging.of_cpu({"cr3": 0, "cr4": 0}) is None
    assert X86_64.paging.of_cpu({}) is None


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
def test_no_vmcoreinfo_no_tables(arch: Arch) -> None:
    assert arch.paging is not None
    assert arch.paging.find(Vmcoreinfo({}), NOTHING) is None
