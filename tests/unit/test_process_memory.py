"""ProcessMemory: what is shown of pages that the dump does not have."""

from __future__ import annotations

import pytest

from kdump_gdbserver.application.mapped_files import Mappings
from kdump_gdbserver.application.process_memory import NoPageSource, ProcessMemory
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma
from tests.unit.process_support import PAGE, Pages

START = 0x7000_0000


def memory_of(vma: Vma, pages: Pages) -> ProcessMemory:
    return ProcessMemory(pages, Mappings([vma]), PAGE, NoPageSource())


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
