"""Memory of dumps: every byte shown is a byte that was saved."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import ARCHITECTURES
from kdump_gdbserver.domain.arch.paging import EntryKind
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from tests.unit.kdumpfile.kdumpfile_support import LIBRARIES, Machine, noise, write
from tests.unit.kdumpfile.vmcore_builder import PAGE, Kdump, Segment, elf_core, kdump

MACHINE = Machine()
FORMS = ("elf", "kdump")


def dump_bytes(form: str) -> bytes:
    if form == "elf":
        return MACHINE.elf(gap=24)
    return kdump(MACHINE.pages(), len(MACHINE.pages()), Kdump(notes=MACHINE.notes))


@pytest.fixture(scope="module", params=LIBRARIES)
def opener(request: pytest.FixtureRequest) -> KdumpfileOpener:
    return KdumpfileOpener(request.param)


@pytest.fixture(scope="module", params=FORMS)
def machine(
    request: pytest.FixtureRequest,
    opener: KdumpfileOpener,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CrashDump]:
    path = write(tmp_path_factory.mktemp("machine"), dump_bytes(request.param))
    dump = opener.open([path])
    yield dump
    dump.close()


def user_memory(dump: CrashDump) -> AddressSpace:
    """The memory of the machine's one process."""
    return DumpMemory(dump).process(RootTable(Machine.USER_ROOT))


def outcome(space: AddressSpace, address: int, length: int) -> bytes | tuple[int, FaultReason]:
    """What a read gives: bytes, or where and why it failed."""
    try:
        return space.read(address, length)
    except MemoryFault as fault:
        return fault.address, fault.reason


# --- physical memory: any range of any segments ---------------------------------------

RANGES = st.lists(
    st.tuples(st.integers(0, 50 * PAGE), st.integers(0, 6 * PAGE)), min_size=1, max_size=20
)


def apart(pairs: list[tuple[int, int]]) -> dict[int, bytes]:
    """Lay segments one behind the other, some of them adjoining."""
    segments: dict[int, bytes] = {}
    end = 0
    for index, (gap, size) in enumerate(pairs):
        start = end + (gap if gap % 3 else 0)
        segments[start] = noise(-(-size // PAGE), seed=index)[:size]
        end = start + size
    return segments


SEGMENTS = st.lists(
    st.tuples(st.integers(0, 40 * PAGE), st.integers(1, 3 * PAGE)), min_size=1, max_size=5
).map(apart)


@given(segments=SEGMENTS, ranges=RANGES, gap=st.sampled_from([0, 8, 4072]))
def test_elf_shows_exactly_what_the_segments_hold(
    opener: KdumpfileOpener,
    tmp_path_factory: pytest.TempPathFactory,
    segments: dict[int, bytes],
    ranges: list[tuple[int, int]],
    gap: int,
) -> None:
    core = elf_core([Segment(at, data) for at, data in segments.items()], gap=gap)
    dump = opener.open([write(tmp_path_factory.getbasetemp(), core)])
    expected = SegmentedAddressSpace(segments, FaultReason.EXCLUDED)
    physical = dump.physical()
    for start, length in ranges:
        assert outcome(physical, start, length) == outcome(expected, start, length)
    dump.close()


@given(
    frames=st.sets(st.integers(0, 63), min_size=1), ranges=RANGES, packed=st.sampled_from([0, 1])
)
def test_kdump_shows_exactly_the_pages_saved(
    opener: KdumpfileOpener,
    tmp_path_factory: pytest.TempPathFactory,
    frames: set[int],
    ranges: list[tuple[int, int]],
    packed: int,
) -> None:
    pages = {frame: noise(1, seed=frame) for frame in frames}
    data = kdump(pages, 64, Kdump(status=packed))
    dump = opener.open([write(tmp_path_factory.getbasetemp(), data)])
    expected = SegmentedAddressSpace(
        {frame * PAGE: page for frame, page in pages.items()}, FaultReason.EXCLUDED
    )
    physical = dump.physical()
    for start, length in ranges:
        assert outcome(physical, start, length) == outcome(expected, start, length)
    dump.close()


def test_a_page_left_out_of_an_elf_dump_is_no_page_of_zeros(
    opener: KdumpfileOpener, tmp_path: Path
) -> None:
    core = elf_core([Segment(0, noise(1), size=4 * PAGE), Segment(4 * PAGE, noise(1))])
    physical = opener.open([write(tmp_path, core)]).physical()
    assert physical.read(0, 8 * PAGE) == noise(1)
    assert outcome(physical, PAGE, 1) == (PAGE, FaultReason.EXCLUDED)


def test_overlapping_segments_read_as_one(opener: KdumpfileOpener, tmp_path: Path) -> None:
    data = noise(4)
    core = elf_core([Segment(0, data), Segment(PAGE, data[PAGE : 2 * PAGE])])
    physical = opener.open([write(tmp_path, core)]).physical()
    assert physical.read(10, len(data)) == data[10:]


# --- kernel and process memory --------------------------------------------------------


@given(offset=st.integers(0, 16 * PAGE - 1), length=st.integers(0, 20 * PAGE))
def test_kernel_text_is_read_through_the_page_tables(
    machine: CrashDump, offset: int, length: int
) -> None:
    start = Machine.TEXT_AT + offset
    end = min(start + length, Machine.TEXT_AT + 16 * PAGE)
    # libaddrxlat may map text beyond the table's end linearly; what is there is right, too
    got = DumpMemory(machine).kernel().read(Machine.TEXT + offset, length)
    assert got[: end - start] == MACHINE.memory[start:end]
    assert got == MACHINE.memory[start : start + len(got)]


def test_a_mapping_that_is_not_contiguous(machine: CrashDump) -> None:
    memory = MACHINE.memory
    got = DumpMemory(machine).kernel().read(Machine.VMALLOC + 100, 3 * PAGE)
    assert got == memory[0x5064:0x6000] + memory[0x9000:0xA000]


@pytest.mark.parametrize("address", [0, 0x1000, 0x7FFF_FFFF_FFF8, 0xFFFF_8000_0000_0000])
def test_null_is_no_kernel_address(machine: CrashDump, address: int) -> None:
    # QEMU's p_vaddr is the physical address: libkdumpfile alone would show page 0 here
    assert outcome(DumpMemory(machine).kernel(), address, 8) == (address, FaultReason.UNMAPPED)


@pytest.mark.parametrize("address", [-1, 1 << 64, 1 << 70, (1 << 64) - 1])
@pytest.mark.parametrize("kind", ["kernel", "physical", "process"])
def test_addresses_beyond_the_machine(machine: CrashDump, address: int, kind: str) -> None:
    space = user_memory(machine) if kind == "process" else getattr(DumpMemory(machine), kind)()
    with pytest.raises(MemoryFault) as caught:
        space.read(address, 1 << 20)
    assert caught.value.address == address


def test_a_process_sees_its_own_pages(machine: CrashDump) -> None:
    memory = MACHINE.memory
    space = user_memory(machine)
    assert space.read(Machine.USER + 5, 2 * PAGE) == memory[0x7005:0x8000] + memory[0x6000:0x7000]
    assert space.read(0x7FFF_FFFF_F000, 99999) == memory[0x4000:0x5000]
    assert space.read(Machine.HIDDEN, 16) == memory[0x3000:0x3010]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Machine.USER + 2 * PAGE + 3, FaultReason.UNMAPPED),
        (Machine.SWAPPED + 1, FaultReason.SWAPPED),
        (0x7000_0000_0008, FaultReason.EXCLUDED),
        (0x8000_0000_0000, FaultReason.UNMAPPED),
        (Machine.TEXT, FaultReason.UNMAPPED),
    ],
)
def test_why_a_process_has_no_such_byte(
    machine: CrashDump, address: int, reason: FaultReason
) -> None:
    assert outcome(user_memory(machine), address, 8) == (
        address,
        reason,
    )


def test_a_fault_has_the_words_of_the_library(machine: CrashDump) -> None:
    with pytest.raises(MemoryFault, match=r"not present: pte\[2\]"):
        user_memory(machine).read(Machine.USER + 2 * PAGE, 8)


def test_reading_nothing_always_works(machine: CrashDump) -> None:
    for space in (
        DumpMemory(machine).kernel(),
        machine.physical(),
        user_memory(machine),
    ):
        assert space.read(0x1234, 0) == b""


def test_thousands_of_refusals_do_no_harm(opener: KdumpfileOpener, tmp_path: Path) -> None:
    # libkdumpfile 0.5.1 by itself crashes after a thousand or two
    pages = {n: noise(1, n) for n in range(0, 4096, 2)}
    physical = opener.open([write(tmp_path, kdump(pages, 4096))]).physical()
    for n in range(0, 4096, 2):
        assert outcome(physical, (n + 1) * PAGE, 8) == ((n + 1) * PAGE, FaultReason.EXCLUDED)
        assert physical.read(n * PAGE, 2 * PAGE) == pages[n]


@pytest.mark.parametrize(
    ("arch", "entry", "level", "found"),
    [
        ("x86_64", ~0x1234_5000 & 0x000F_FFFF_FFFF_F000 | 0x100, 1, (0x1234_5000, PAGE)),
        ("x86_64", ~0x4020_0000 & 0x000F_FFFF_FFFF_F000 | 0x180, 2, (0x4020_0000, 1 << 21)),
        ("x86_64", ~0x4020_0000 & 0x000F_FFFF_FFFF_F000 | 0x100, 2, None),
        ("x86_64", 0x1234_5002, 1, None),
        ("riscv64", 0x8123_4000 >> 2 | 0x20, 1, (0x8123_4000, PAGE)),
        ("riscv64", 0x8123_4000 >> 2, 1, None),
        ("aarch64", 0x4123_4000 | 1 << 58, 1, (0x4123_4000, PAGE)),
        ("aarch64", 0x4123_4000, 1, None),
    ],
)
def test_pages_hidden_from_the_hardware(
    arch: str, entry: int, level: int, found: tuple[int, int] | None
) -> None:
    paging = ARCHITECTURES[arch].paging
    assert paging is not None
    kind, start, size = paging.form(PAGE, 48).decode(entry, level)
    assert ((start, size) if kind is EntryKind.HIDDEN else None) == found


# --- damage ---------------------------------------------------------------------------


def test_a_damaged_page_is_told_apart(opener: KdumpfileOpener, tmp_path: Path) -> None:
    pages = {frame: bytes([frame]) * PAGE for frame in range(8)}
    data = bytearray(kdump(pages, 8))
    at = len(data) - 30  # inside the last page's zlib data
    data[at : at + 20] = b"\xa5" * 20
    physical = opener.open([write(tmp_path, bytes(data))]).physical()
    assert physical.read(6 * PAGE, 2 * PAGE) == pages[6]
    assert outcome(physical, 7 * PAGE, 8) == (7 * PAGE, FaultReason.CORRUPT)


def test_a_dump_that_shrinks_while_it_is_open(machine: CrashDump, tmp_path: Path) -> None:
    data = Path(machine.facts.paths[0]).read_bytes()
    path = write(tmp_path, data)
    dump = KdumpfileOpener(machine.facts.library.partition("(")[2][:-1]).open([path])
    physical = dump.physical()
    os.truncate(path, len(data) // 2)
    with pytest.raises(MemoryFault) as caught:
        for address in range(0, Machine.RAM, PAGE):
            assert physical.read(address, PAGE)
    assert caught.value.reason is FaultReason.TRUNCATED
    dump.close()


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_dump_opens_and_says_so(
    opener: KdumpfileOpener, tmp_path: Path, form: str
) -> None:
    data = dump_bytes(form)
    dump = opener.open([write(tmp_path, data[: len(data) - 10 * PAGE])])
    assert dump.facts.truncated
    assert dump.facts.missing_pages == "the file is truncated"
    last = Machine.RAM - PAGE
    assert outcome(dump.physical(), last, 8) == (last, FaultReason.TRUNCATED)
    assert DumpMemory(dump).kernel().read(Machine.TEXT, 32) == MACHINE.memory[0x100000:0x100020]


def test_a_whole_dump_is_not_called_truncated(machine: CrashDump) -> None:
    assert not machine.facts.truncated


# --- threads and closing --------------------------------------------------------------


def test_two_threads_read_the_right_bytes(machine: CrashDump) -> None:
    failures: list[str] = []

    def hammer(seed: int) -> None:
        spaces = (
            machine.physical(),
            DumpMemory(machine).kernel(),
            user_memory(machine),
        )
        for turn in range(3000):
            at = (turn * 7919 + seed * 104729) % (Machine.RAM - 3 * PAGE)
            if spaces[0].read(at, 2 * PAGE) != MACHINE.memory[at : at + 2 * PAGE]:
                failures.append(f"physical {at:#x}")
            at %= 12 * PAGE
            wanted = MACHINE.memory[Machine.TEXT_AT + at :][:64]
            if spaces[1].read(Machine.TEXT + at, 64) != wanted:
                failures.append(f"kernel {at:#x}")
            if spaces[2].read(Machine.USER, 16) != MACHINE.memory[0x7000:0x7010]:
                failures.append("process")

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_do_not_share_blocks_of_the_file(opener: KdumpfileOpener, tmp_path: Path) -> None:
    # More pages than any cache of libkdumpfile holds, read in pieces that ours does not keep.
    pages = {n: (b"%08x" % n) * (PAGE // 16) + noise(1, n)[: PAGE // 2] for n in range(4096)}
    memory = b"".join(pages.values())
    dump = opener.open([write(tmp_path, kdump(pages, len(pages)))])
    failures: list[int] = []

    def hammer(seed: int) -> None:
        physical = dump.physical()
        for turn in range(1500):
            at = (turn * 7919 + seed * 104729) * PAGE % (len(memory) - 4 * PAGE)
            if physical.read(at, 3 * PAGE) != memory[at : at + 3 * PAGE]:
                failures.append(at)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    dump.close()


@pytest.mark.parametrize("form", FORMS)
def test_closing_while_others_read(opener: KdumpfileOpener, tmp_path: Path, form: str) -> None:
    dump = opener.open([write(tmp_path, dump_bytes(form))])
    spaces = [
        DumpMemory(dump).kernel(),
        user_memory(dump),
        dump.physical(),
    ]
    ended: list[str] = []

    def read_on(space: AddressSpace, address: int) -> None:
        try:
            while True:
                space.read(address, 2 * PAGE)
        except ValueError as error:
            ended.append(str(error))

    threads = [
        threading.Thread(target=read_on, args=pair)
        for pair in zip(spaces, (Machine.TEXT, Machine.USER, 0), strict=True)
    ]
    for thread in threads:
        thread.start()
    dump.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert ended == ["the dump is closed"] * 3


WHAT_IS_FREED = """
import gc, sys
from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.kdumpfile.formats import files
from kdump_gdbserver.adapters.kdumpfile.library import context
from kdump_gdbserver.application.memory import DumpMemory
free, close = context._free, files._close_all
context._free = lambda *pointers: (print("freed", flush=True), free(*pointers))
files._close_all = lambda *numbers: (print("closed", flush=True), close(*numbers))
first, second = (KdumpfileOpener().open([sys.argv[1]]) for _ in range(2))
spaces = [DumpMemory(first).kernel(), DumpMemory(second).kernel()]
first.close()
gc.collect()  # what nothing refers to any more may go at any time
print("end", flush=True)
"""


@pytest.mark.parametrize("form", FORMS)
def test_the_end_of_the_process_takes_nothing_from_threads_that_read(
    tmp_path: Path, form: str
) -> None:
    """They may read on while Python's exit handlers run; what they use goes with the process."""
    done = subprocess.run(
        [sys.executable, "-c", WHAT_IS_FREED, write(tmp_path, dump_bytes(form))],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    *closing, end = done.stdout.splitlines()
    assert {"freed", "closed"} == set(closing)
    assert end == "end"


@pytest.mark.parametrize("form", FORMS)
def test_reading_a_closed_dump_is_an_error(
    opener: KdumpfileOpener, tmp_path: Path, form: str
) -> None:
    dump = opener.open([write(tmp_path, dump_bytes(form))])
    spaces = [
        dump.physical(),
        DumpMemory(dump).kernel(),
        user_memory(dump),
    ]
    for space, address in zip(spaces, (0, Machine.TEXT, Machine.USER), strict=True):
        assert space.read(address, 8)
    dump.close()
    dump.close()
    for space, address in zip(spaces, (0, Machine.TEXT, Machine.USER), strict=True):
        with pytest.raises(ValueError, match="closed"):
            space.read(address, 8)
    for make in (
        dump.physical,
        DumpMemory(dump).kernel,
        lambda: user_memory(dump),
    ):
        with pytest.raises(ValueError, match="closed"):
            make()


def test_many_spaces_at_a_time(machine: CrashDump) -> None:
    spaces = [user_memory(machine) for _ in range(300)]
    assert {space.read(Machine.USER, 8) for space in spaces} == {
        bytes(MACHINE.memory[0x7000:0x7008])
    }
    del spaces[::2]
    assert spaces[-1].read(Machine.USER + PAGE, 8) == MACHINE.memory[0x6000:0x6008]


def test_a_space_outlives_the_object_it_came_from(opener: KdumpfileOpener, tmp_path: Path) -> None:
    path = write(tmp_path, dump_bytes("kdump"))
    kernel = DumpMemory(opener.open([path])).kernel()
    assert kernel.read(Machine.TEXT, 8) == MACHINE.memory[0x100000:0x100008]
