"""Dumps that end in the middle of their page tables: late is not empty, half is not whole.

libkdumpfile takes what is behind the end of a file for zeros. An entry of a page table that is
zero says that nothing is mapped, and then a process's memory is known to be zeros, too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.process.untouched import UntouchedPages
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from tests.unit.kdumpfile.kdumpfile_support import Machine, write
from tests.unit.kdumpfile.vmcore_builder import PAGE, Kdump, kdump

MACHINE = Machine()
PAGES = MACHINE.pages()
DUMPS = {
    "elf": MACHINE.elf(),
    "as it is": kdump(PAGES, len(PAGES), Kdump(notes=MACHINE.notes, status=0)),
    "compressed": kdump(PAGES, len(PAGES), Kdump(notes=MACHINE.notes)),
}
USER_PAGES = {
    MACHINE.USER: 0x7000,
    MACHINE.USER + PAGE: 0x6000,
    MACHINE.HIDDEN: 0x3000,
    0x7FFF_FFFF_F000: 0x4000,
}
NEVER_MAPPED = MACHINE.USER + 64 * PAGE
TABLES = [MACHINE.USER_ROOT + number * PAGE for number in range(6)]


def place_of(form: str, physical: int) -> int:
    """Return where in the file a page of the machine is that is stored as it is."""
    at = DUMPS[form].find(bytes(MACHINE.memory[physical : physical + PAGE]))
    assert at > 0
    return at


def entries_of(physical: int) -> list[int]:
    """Return where in a table the entries are that are not empty."""
    table = MACHINE.memory[physical : physical + PAGE]
    return [at for at in range(0, PAGE, 8) if any(table[at : at + 8])]


def cut(folder: Path, form: str, size: int) -> CrashDump:
    return KdumpfileOpener().open([write(folder, DUMPS[form][:size])])


@pytest.mark.parametrize("form", ["elf", "as it is"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_cut_anywhere_gives_what_is_right_or_an_error_that_says_so(
    tmp_path: Path, form: str, table: int
) -> None:
    start = place_of(form, table)
    wrong: list[tuple[int, int, str, bytes | MemoryFault]] = []
    read = 0
    for entry in entries_of(table):
        for inside in range(9):
            dump = cut(tmp_path, form, start + entry + inside)
            process = DumpMemory(dump).process(RootTable(MACHINE.USER_ROOT))
            for address, physical in USER_PAGES.items():
                try:
                    data = process.read(address, 64)
                except MemoryFault as fault:
                    if fault.reason is not FaultReason.TRUNCATED or fault.address != address:
                        wrong.append((entry, inside, hex(address), fault))
                else:
                    read += 1
                    if data != MACHINE.memory[physical : physical + 64]:
                        wrong.append((entry, inside, hex(address), data))
            dump.close()
    assert wrong == []
    if table == TABLES[-1]:
        assert read > 0


@pytest.mark.parametrize("form", DUMPS)
def test_what_the_tables_would_have_told_is_not_known(tmp_path: Path, form: str) -> None:
    """A page that was never touched reads as zeros: that takes a table that is there."""
    whole = cut(tmp_path, form, len(DUMPS[form]))
    assert UntouchedPages(DumpMemory(whole), RootTable(MACHINE.USER_ROOT)).length(NEVER_MAPPED) > 0
    assert (
        DumpMemory(whole).walk(NEVER_MAPPED, RootTable(MACHINE.USER_ROOT)).fault
        is FaultReason.UNMAPPED
    )
    dump = cut(tmp_path, form, len(DUMPS[form]) * 20 // 100)
    for address in (NEVER_MAPPED, MACHINE.USER):
        assert UntouchedPages(DumpMemory(dump), RootTable(MACHINE.USER_ROOT)).length(address) == 0
        walk = DumpMemory(dump).walk(address, RootTable(MACHINE.USER_ROOT))
        assert walk.fault is FaultReason.TRUNCATED
        assert walk.detail.startswith("the page table's entry at 0x")
        with pytest.raises(MemoryFault) as caught:
            DumpMemory(dump).process(RootTable(MACHINE.USER_ROOT)).read(address, 8)
        assert caught.value.reason is FaultReason.TRUNCATED
    with pytest.raises(MemoryFault) as caught:
        DumpMemory(dump).kernel().read(MACHINE.VMALLOC, 8)
    assert caught.value.reason is FaultReason.TRUNCATED


def test_a_table_that_is_cut_off_while_it_is_served_is_not_empty_either(tmp_path: Path) -> None:
    dump = cut(tmp_path, "elf", len(DUMPS["elf"]))
    process = DumpMemory(dump).process(RootTable(MACHINE.USER_ROOT))
    with (tmp_path / "vmcore").open("r+b") as file:
        file.truncate(place_of("elf", MACHINE.USER_ROOT))
    assert UntouchedPages(DumpMemory(dump), RootTable(MACHINE.USER_ROOT)).length(NEVER_MAPPED) == 0
    with pytest.raises(MemoryFault) as caught:
        process.read(MACHINE.USER, 8)
    assert caught.value.reason is FaultReason.TRUNCATED


@given(st.sampled_from(sorted(DUMPS)), st.integers(15, 100), st.integers(0, 7))
def test_a_dump_cut_anywhere_shows_the_kernel_right_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, form: str, percent: int, more: int
) -> None:
    dump = cut(tmp_path_factory.mktemp("d"), form, len(DUMPS[form]) * percent // 100 + more)
    kernel = DumpMemory(dump).kernel()
    for page in range(16):
        start = MACHINE.TEXT_AT + page * PAGE
        try:
            data = kernel.read(MACHINE.TEXT + page * PAGE, PAGE)
        except MemoryFault as fault:
            assert fault.reason is FaultReason.TRUNCATED
        else:
            assert data == MACHINE.memory[start : start + len(data)]
    dump.close()
