"""ProcessMemory: what is shown of pages that the dump does not have."""

from __future__ import annotations

import pytest

from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.process.mapped_files import Mappings
from kdump_gdbserver.application.process.process_memory import ProcessMemory
from kdump_gdbserver.application.process.untouched import UntouchedPages
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import PageWalk, RootTable, TableEntry
from kdump_gdbserver.domain.sidecars import Vma
from tests.support.fake_dump import FakeDump
from tests.unit.process.process_support import PAGE, Pages

START = 0x7000_0000


def memory_of(vma: Vma, pages: Pages) -> ProcessMemory:
    return ProcessMemory(pages, Mappings([vma]), PAGE, lambda address: PAGE - address % PAGE)


def vma_of(perms: str = "rw-p", path: str = "", inode: int = 0, pages: int = 4) -> Vma:
    return Vma(START, START + pages * PAGE, perms, 0, "00:00", inode, path)


@pytest.mark.parametrize("path", ["", "[heap]", "[stack]", "[anon:malloc]"])
def test_untouched_private_memory_is_zeros_between_pages_of_the_dump(path: str) -> None:
    pages = Pages({START: b"a" * PAGE, START + 2 * PAGE: b"c" * PAGE})
    memory = memory_of(vma_of(path=path), pages)
    expected = b"a" * PAGE + bytes(PAGE) + b"c" * PAGE + bytes(PAGE)
    assert memory.read(START, 4 * PAGE) == expected
    assert memory.read(START + PAGE - 2, 5) == b"aa\0\0\0"
    assert memory.read(START + 3 * PAGE, 2 * PAGE) == bytes(PAGE)  # not behind the mapping
    assert memory.read(START, 0) == b""


@pytest.mark.parametrize(
    "vma",
    [
        vma_of("r--p", "[vvar]"),
        vma_of("r-xp", "[vdso]"),
        vma_of("---p"),
        vma_of("r--p"),
        vma_of("rw-s", "/dev/zero (deleted)", 9),
        vma_of("rw-s"),
        vma_of("rw-p", "anon_inode:[io_uring]", 5),
        vma_of("rw-p", "/lib/x.so", 5),
    ],
    ids=lambda vma: f"{vma.perms} {vma.path}",
)
def test_of_no_other_mapping_zeros_are_made_up(vma: Vma) -> None:
    with pytest.raises(MemoryFault) as caught:
        memory_of(vma, Pages({})).read(START + 5, 10)
    assert caught.value.address == START + 5
    assert caught.value.reason is FaultReason.UNMAPPED


@pytest.mark.parametrize("reason", [r for r in FaultReason if r is not FaultReason.UNMAPPED])
def test_a_page_that_was_there_is_never_zeros(reason: FaultReason) -> None:
    pages = Pages({START: b"a" * PAGE}, {START + PAGE: reason})
    memory = memory_of(vma_of(), pages)
    assert memory.read(START, 3 * PAGE) == b"a" * PAGE
    with pytest.raises(MemoryFault) as caught:
        memory.read(START + PAGE, 1)
    assert caught.value.reason is reason


def test_outside_all_mappings_is_an_error() -> None:
    memory = memory_of(vma_of(), Pages({}))
    for address in (0, START - 1, START + 4 * PAGE, 1 << 63):
        with pytest.raises(MemoryFault, match="not mapped"):
            memory.read(address, 8)


def test_a_missing_page_of_a_file_names_the_file_and_the_option() -> None:
    memory = memory_of(Vma(START, START + PAGE, "r-xp", 0x3000, "08:01", 5, "/lib/x.so"), Pages({}))
    with pytest.raises(MemoryFault, match=r"offset 0x3010 of /lib/x\.so; --sysroot"):
        memory.read(START + 0x10, 4)


def test_without_proof_that_it_was_never_touched_nothing_is_zeros() -> None:
    memory = ProcessMemory(Pages({}), Mappings([vma_of()]), PAGE, lambda address: 0)
    with pytest.raises(MemoryFault, match="not mapped"):
        memory.read(START, 1)


# --- UntouchedPages ---

TABLE = 0x2000


def proof(walk: PageWalk | None, table: bytes = b"") -> UntouchedPages:
    class Dump(FakeDump):
        def walk(self, address: int, root: int | None = None) -> PageWalk:
            assert root == 0x5000
            if walk is None:
                raise MemoryFault(address, FaultReason.EXCLUDED)
            return walk

    return UntouchedPages(DumpMemory(Dump(physical={"table": (TABLE, table)})), RootTable(0x5000))


def hole(level: int, index: int, value: int = 0) -> PageWalk:
    entry = TableEntry(level, TABLE + 8 * index, value)
    return PageWalk(START, (entry,), PAGE << 9 * (level - 1), fault=FaultReason.UNMAPPED)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_an_empty_entry_and_those_behind_it_are_proof(level: int) -> None:
    span = PAGE << 9 * (level - 1)
    address = START - START % span + 16
    table = bytes(8 * 10) + b"\1" + bytes(4096 - 8 * 10 - 1)
    assert proof(hole(level, 3), table).length(address) == 7 * span - 16
    assert proof(hole(level, 500), table).length(address) == 12 * span - 16
    assert proof(hole(level, 511), table).length(address) == span - 16
    assert proof(hole(level, 3)).length(address) == span - 16  # the rest cannot be read


@pytest.mark.parametrize(
    "walk",
    [
        None,
        hole(1, 3, value=0x800),
        PageWalk(START, (), PAGE, fault=FaultReason.UNMAPPED),
        PageWalk(START, (TableEntry(1, TABLE, 0),), PAGE, fault=FaultReason.EXCLUDED),
        PageWalk(START, (TableEntry(1, TABLE, 5),), PAGE, physical=0x9000, page_size=PAGE),
    ],
    ids=["no walk", "not empty", "no entry", "not read", "there"],
)
def test_all_else_is_no_proof(walk: PageWalk | None) -> None:
    assert proof(walk, bytes(4096)).length(START) == 0
