"""Our walks of page tables beside libkdumpfile's, on real dumps: not one difference."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.kdumpfile.dump import KdumpfileDump
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.adapters.kdumpfile.memory.kdump_translation import KdumpTranslation
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.arch.paging import EntryKind
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.page_tables import PageTables
from kdump_gdbserver.domain.page_walk import PageWalk, RootTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from tests.real.harness import RealDump

COUNT = 2000
ALL = (1 << 64) - 1


def mapped(tables: PageTables, dice: random.Random, upper: bool) -> Iterator[int]:
    """Yield addresses that present entries lead to, each entry of a table as likely."""
    form = tables.form
    known: dict[int, list[int]] = {}
    for _ in range(100 * COUNT):
        table, address = tables.root, 0
        for level in range(form.levels, 0, -1):
            entries = tables._table(table, level)
            if table not in known:
                half = len(entries) // 2 if level == form.levels and not form.split else 0
                part = range(half, len(entries)) if upper else range(half or len(entries))
                known[table] = [
                    index for index in part
                    if form.decode(entries[index], level)[0] is not EntryKind.ABSENT
                ]  # fmt: skip
            if not known[table]:
                break
            index = dice.choice(known[table])
            address |= index << form.shift(level)
            kind, table, _ = form.decode(entries[index], level)
            if kind is EntryKind.SWAPPED:
                break
            if kind is not EntryKind.TABLE:
                high = form.bits if form.split else form.bits - 1
                top = (-1 << high) & ALL if upper else 0
                yield address | top | dice.randrange(1 << form.shift(level))
                break


def addresses(dump: CrashDump, root: int | None, dice: random.Random) -> list[int]:
    """Return addresses with a page, and as many near to these, most of them without."""
    memory = DumpMemory(dump)
    assert memory.tables is not None
    tables = memory._page_tables(memory.tables, dump.physical(), root)
    found = [at for at, _ in zip(mapped(tables, dice, root is None), range(COUNT), strict=False)]
    low = memory.tables.form.user_end - 1 if root is not None else ALL
    near = [at + dice.choice((-1, 1)) * (1 << dice.randrange(12, 40)) & low for at in found]
    return found + [at | (1 << 63 if root is None else 0) for at in near]


def told(walk: PageWalk) -> tuple[object, ...]:
    """Return what a walk tells; the library may begin at the top table of a process."""
    entries = [(entry.level, entry.value) for entry in walk.entries]
    places = [entry.address for entry in walk.entries[1:]]
    return entries, places, walk.physical, walk.page_size, walk.span, walk.fault


def library_of(dump: CrashDump) -> KdumpTranslation:
    """Return the library's translation, over the file itself, which is not what it is served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileHeader, "is_plain_elf", property(lambda self: False))
        whole = KdumpfileOpener().open(dump.facts.paths)
    assert isinstance(whole, KdumpfileDump)
    translation = whole.library_translation()
    assert translation is not None
    return translation


def compare(dump: CrashDump, root: int | None, seed: int) -> Counter[str]:
    memory, library = DumpMemory(dump), library_of(dump)
    walker = library._walker(root)  # not a fresh one for each address
    where = None if root is None else RootTable(root)
    seen: Counter[str] = Counter()
    for address in addresses(dump, root, random.Random(seed)):
        ours, theirs = memory.walk(address, where), walker.walk(address)
        assert told(ours) == told(theirs), hex(address)
        seen["page" if ours.physical is not None else "none"] += 1
    return seen


def compare_bytes(dump: CrashDump, seed: int) -> int:
    """Compare what the kernel's memory is with what libkdumpfile translates to."""
    memory, physical = DumpMemory(dump).kernel(), dump.physical()
    translator = library_of(dump).kernel()
    count = 0
    for address in addresses(dump, None, random.Random(seed))[:COUNT]:
        where, _ = translator.run(address, address + 1)
        try:
            expected = physical.read(where, 1)
        except MemoryFault as fault:
            with pytest.raises(MemoryFault) as caught:
                memory.read(address, 1)
            assert caught.value.reason is fault.reason
        else:
            assert memory.read(address, 1) == expected
            count += 1
    return count


def check(paths: list[str]) -> CrashDump:
    dump = KdumpfileOpener().open(paths)
    seen = compare(dump, None, 1)
    assert seen["page"] >= COUNT
    assert seen["none"] > 100
    assert compare_bytes(dump, 2) > COUNT // 2
    return dump


@pytest.mark.parametrize("form", ["elf", "elf-paging", "kdump-zlib"])
def test_the_kernel_and_processes_of_a_panicked_guest(panicked: RealDump, form: str) -> None:
    dump = check([str(panicked.dumps[form][0])])
    roots = {note.control["cr3"] & 0x000F_FFFF_FFFF_F000 for note in dump.cpu_notes()}
    pages = [compare(dump, root, 3)["page"] for root in roots]
    assert max(pages) >= COUNT
    dump.close()


@pytest.mark.parametrize("form", ["elf", "d0-zlib", "split"])
def test_the_kernel_of_a_guest_that_dumped_itself(kdumped: RealDump, form: str) -> None:
    check([str(path) for path in kdumped.dumps[form]]).close()


def test_a_cpu_s_own_tables_lead_where_the_kernel_s_do(panicked: RealDump) -> None:
    """Without VMCOREINFO the control registers in QEMU's notes are enough."""
    path = str(panicked.dumps["elf"][0])
    whole = KdumpfileOpener().open([path])
    bare = KdumpfileOpener().open([path], vmcoreinfo=b"OSRELEASE=unknown\n")
    found = DumpMemory(bare).tables
    assert found is not None
    expected, memory = DumpMemory(whole), DumpMemory(bare)
    for address in addresses(whole, None, random.Random(4))[:COUNT]:
        assert expected.walk(address).physical == memory.walk(address).physical
