"""A dump that changes while it is open is an error from then on, for all who read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.kdumpfile.facts import read_facts
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import DumpOpenError, FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import RootTable
from tests.unit.kdumpfile_support import LIBRARIES, Machine, write
from tests.unit.vmcore_builder import PAGE, Kdump, flatten, kdump

MACHINE = Machine()
PAGES = MACHINE.pages()
STORED = kdump(PAGES, len(PAGES), Kdump(notes=MACHINE.notes, status=0))
DUMPS = {
    "elf": MACHINE.elf(),
    "stored": STORED,
    "compressed": kdump(PAGES, len(PAGES), Kdump(notes=MACHINE.notes)),
    "flattened": flatten(STORED),
    "flattened elf": flatten(MACHINE.elf()),
}
NEVER_MAPPED = MACHINE.USER + 64 * PAGE


def cut_and_refill(path: Path, read: Callable[[], object]) -> None:
    data = path.read_bytes()
    os.truncate(path, len(data) // 3)
    read()
    with path.open("r+b") as file:
        file.seek(len(data) // 3)
        file.write(data[len(data) // 3 :])


def overwrite(path: Path, read: Callable[[], object]) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\xa5" * size)


def overwrite_and_hide(path: Path, read: Callable[[], object]) -> None:
    """As `rsync --inplace --times` and `cp -p` leave a file: the time of its last change is old."""
    status = path.stat()
    overwrite(path, read)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def write_one_byte(path: Path, read: Callable[[], object]) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 1)
        file.write(b"x")


def append(path: Path, read: Callable[[], object]) -> None:
    with path.open("ab") as file:
        file.write(b"x")


CHANGES = {
    "truncated and refilled": cut_and_refill,
    "overwritten": overwrite,
    "overwritten, time set back": overwrite_and_hide,
    "one byte written": write_one_byte,
    "appended to": append,
}


def wrong(space: AddressSpace) -> list[int]:
    """Return the pages that can be read."""
    found = []
    for address in range(0, MACHINE.RAM, PAGE):
        try:
            space.read(address, PAGE)
        except MemoryFault as fault:
            assert fault.reason in (FaultReason.CHANGED, FaultReason.TRUNCATED)
            assert "while it was in use; start the server again" in fault.detail
        else:
            found.append(address)
    return found


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("form", DUMPS)
@pytest.mark.parametrize("change", CHANGES)
def test_no_byte_is_served_of_a_dump_that_has_changed(
    library: str, tmp_path: Path, form: str, change: str
) -> None:
    path = write(tmp_path, DUMPS[form])
    try:
        dump = KdumpfileOpener(library).open([path])
    except DumpOpenError as error:  # an old library, and it says so
        assert "flattened" in form and "cannot open" in str(error)
        return
    before = dump.physical()
    process = DumpMemory(dump).process(RootTable(MACHINE.USER_ROOT))
    assert before.read(5 * PAGE, PAGE) == PAGES[5]
    CHANGES[change](Path(path), lambda: wrong(before))
    assert wrong(before) in ([], [5 * PAGE])  # a page from before may be in memory
    assert wrong(dump.physical()) in ([], [5 * PAGE])
    with pytest.raises(MemoryFault) as caught:
        process.read(MACHINE.USER, 8)
    assert caught.value.reason in (FaultReason.CHANGED, FaultReason.TRUNCATED)
    walk = DumpMemory(dump).walk(NEVER_MAPPED, RootTable(MACHINE.USER_ROOT))
    assert walk.fault in (FaultReason.CHANGED, FaultReason.TRUNCATED)
    dump.close()


def rename(path: Path) -> None:
    path.rename(path.with_suffix(".other"))


def link(path: Path) -> None:
    path.with_suffix(".other").hardlink_to(path)


def forbid(path: Path) -> None:
    path.chmod(0o400)


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


@pytest.mark.parametrize("change", [rename, link, forbid, Path.unlink, replace])
@pytest.mark.parametrize("form", ["elf", "compressed"])
def test_a_new_name_or_mode_is_no_change(
    tmp_path: Path, form: str, change: Callable[[Path], None]
) -> None:
    path = write(tmp_path, DUMPS[form])
    dump = KdumpfileOpener().open([path])
    physical = dump.physical()
    change(Path(path))
    for frame, page in PAGES.items():
        assert physical.read(frame * PAGE, PAGE) == page
    dump.close()


def test_a_dump_that_is_still_written_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, DUMPS["compressed"])

    def meanwhile(*arguments: object, **options: object) -> object:
        with Path(path).open("ab") as file:
            file.write(b"more")
        return read_facts(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("kdump_gdbserver.adapters.kdumpfile.opener.read_facts", meanwhile)
    with pytest.raises(DumpOpenError, match=r"vmcore: the file has become longer; wait until"):
        KdumpfileOpener().open([path])
