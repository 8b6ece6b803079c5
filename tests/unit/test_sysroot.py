"""Sysroot and HostDirectory: no page is shown that the process may not have had."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.host_files import HostDirectory
from kdump_gdbserver.application.process.elf_reader import read_build_id, read_elf
from kdump_gdbserver.application.process.mapped_files import Mappings
from kdump_gdbserver.application.process.process_memory import ProcessMemory
from kdump_gdbserver.application.process.sysroot import Sysroot
from kdump_gdbserver.domain.errors import FaultReason, InputError, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma
from tests.support.tcp import TIMEOUT
from tests.unit.process_support import (
    BUILD_ID,
    PAGE,
    HostFilesStub,
    HostFileStub,
    Pages,
    elf,
    file_vmas,
    pages_of,
)

START = 0x5555_0000_0000
PATH = "/lib/x.so"
CRASH = 1000
EXCLUDED, UNMAPPED, SWAPPED = FaultReason.EXCLUDED, FaultReason.UNMAPPED, FaultReason.SWAPPED


def memory_of(
    vmas: list[Vma],
    host: tuple[bytes, int, int] | None = None,
    *,
    resident: Mapping[int, bytes] | None = None,
    missing: FaultReason = UNMAPPED,
) -> ProcessMemory:
    """Return a process that has only `resident` pages; all others are missing for one reason."""
    everywhere = {at: missing for vma in vmas for at in range(vma.start, vma.end, PAGE)}
    pages = Pages(resident or {}, everywhere)
    files = HostFilesStub({PATH: host} if host else {})
    mappings = Mappings(vmas)
    sysroot = Sysroot(files, mappings, pages, PAGE, CRASH)
    return ProcessMemory(pages, mappings, PAGE, lambda address: PAGE, files=sysroot)


def header_of(content: bytes) -> dict[int, bytes]:
    return pages_of(START, content[:PAGE])


def why_not(memory: ProcessMemory, address: int) -> str:
    with pytest.raises(MemoryFault) as caught:
        memory.read(address, 16)
    assert caught.value.address == address
    return str(caught.value)


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("missing", [UNMAPPED, EXCLUDED, FaultReason.TRUNCATED])
def test_code_comes_from_the_file_with_the_same_build_id(bits: int, missing: FaultReason) -> None:
    content = elf(bits=bits)
    memory = memory_of(
        file_vmas(PATH, START), (content, 99, 99999), resident=header_of(content), missing=missing
    )
    assert memory.read(START + 2 * PAGE - 3, 6) == content[2 * PAGE - 3 : 2 * PAGE + 3]
    assert memory.read(START, 4 * PAGE) == content[: 4 * PAGE]


def test_another_build_id_is_refused_with_both_named() -> None:
    other = elf(build_id=b"\xee" * 20)
    memory = memory_of(file_vmas(PATH, START), (other, 7, 5), resident=header_of(elf()))
    why = why_not(memory, START + PAGE)
    assert "ee" * 20 in why
    assert BUILD_ID.hex() in why


def test_without_the_file_it_is_an_error_that_says_so() -> None:
    memory = memory_of(file_vmas(PATH, START), None, resident=header_of(elf()))
    assert "the sysroot has no /lib/x.so" in why_not(memory, START + PAGE)


@pytest.mark.parametrize("missing", [EXCLUDED, SWAPPED, FaultReason.CORRUPT, FaultReason.IO])
def test_a_page_that_may_have_been_written_is_refused(missing: FaultReason) -> None:
    content = elf()
    memory = memory_of(
        file_vmas(PATH, START), (content, 7, 5), resident=header_of(content), missing=missing
    )
    for page in (4, 5):  # relro is read-only now, but was written to by the loader
        assert missing.value in why_not(memory, START + page * PAGE)


def test_a_private_page_that_was_never_touched_is_the_files() -> None:
    content = elf()
    memory = memory_of(file_vmas(PATH, START), (content, 7, 5), resident=header_of(content))
    assert memory.read(START + 4 * PAGE, 2 * PAGE) == content[4 * PAGE :]


def test_text_relocations_rule_out_pages_that_were_left_out() -> None:
    for dynamic in ([(22, 0), (0, 0)], [(30, 4), (0, 0)]):
        content = elf(dynamic=dynamic)
        host = (content, 7, 5)
        vmas, resident = file_vmas(PATH, START), header_of(content)
        memory = memory_of(vmas, host, resident=resident, missing=EXCLUDED)
        assert "loader may have changed" in why_not(memory, START + PAGE)
        assert memory_of(vmas, host, resident=resident).read(START + PAGE, 1) == b"\x11"


def test_without_proof_that_a_page_was_never_touched_it_is_refused() -> None:
    content = elf()
    pages = Pages(header_of(content))
    mappings = Mappings(file_vmas(PATH, START))
    sysroot = Sysroot(HostFilesStub({PATH: (content, 7, 5)}), mappings, pages, PAGE, CRASH)
    memory = ProcessMemory(pages, mappings, PAGE, lambda address: 0, files=sysroot)
    assert "not mapped" in why_not(memory, START + PAGE)


def test_a_swapped_page_is_never_the_files() -> None:
    content = elf()
    memory = memory_of(
        file_vmas(PATH, START), (content, 7, 5), resident=header_of(content), missing=SWAPPED
    )
    assert "swapped out" in why_not(memory, START + PAGE)


@pytest.mark.parametrize(
    ("inode", "modified", "why"),
    [
        (7, CRASH, ""),
        (8, CRASH, "not proved to be the mapped file"),
        (7, CRASH + 1, "modified after the crash"),
    ],
)
def test_without_build_ids_inode_and_time_decide(inode: int, modified: int, why: str) -> None:
    vmas = [Vma(START, START + 2 * PAGE, "r--p", PAGE, "08:01", 7, PATH)]
    memory = memory_of(vmas, (b"x" * 2 * PAGE + b"end", inode, modified))
    if why:
        assert why in why_not(memory, START)
    else:
        assert memory.read(START, PAGE) == b"x" * PAGE
        # The file's last page is filled up with zeros, and behind it nothing is.
        assert memory.read(START + PAGE, PAGE) == b"end".ljust(PAGE, b"\0")


def test_behind_the_end_of_a_file_is_an_error() -> None:
    vmas = [Vma(START, START + 4 * PAGE, "r--p", 0, "08:01", 7, PATH)]
    memory = memory_of(vmas, (b"short", 7, 5))
    assert memory.read(START, 4 * PAGE) == b"short".ljust(PAGE, b"\0")
    assert "behind the end" in why_not(memory, START + PAGE)


@pytest.mark.parametrize(
    ("size", "mtime", "good"),
    [(6 * PAGE, 50, True), (6 * PAGE + 1, 50, False), (6 * PAGE, 51, False)],
)
def test_size_and_time_of_the_inode_stand_in_for_a_filtered_build_id(
    size: int, mtime: int, good: bool
) -> None:
    vmas = file_vmas(PATH, START, inode=7, file_size=size, file_mtime=mtime)
    memory = memory_of(vmas, (elf(), 12345, 50), missing=EXCLUDED)
    if good:
        assert memory.read(START + PAGE, 1) == b"\x11"
    else:
        assert "another size or time" in why_not(memory, START + PAGE)


def test_a_shared_writable_page_is_refused() -> None:
    vmas = [Vma(START, START + PAGE, "rw-s", 0, "08:01", 7, PATH)]
    assert "may have changed" in why_not(memory_of(vmas, (b"x" * PAGE, 7, 5)), START)


def test_a_deleted_file_needs_its_build_id() -> None:
    content = elf()
    vmas = file_vmas(f"{PATH} (deleted)", START)
    memory = memory_of(vmas, (content, 7, 5), resident=header_of(content))
    assert memory.read(START + PAGE, 1) == b"\x11"
    assert "was deleted" in why_not(memory_of(vmas, (content, 7, 5)), START + PAGE)


def test_a_client_gets_no_file_that_is_not_the_mapped_one() -> None:
    vmas = file_vmas(PATH, START)
    resident = Pages(header_of(elf()))
    other = elf(build_id=b"\xee" * 20)
    for content, there in ((elf(), True), (other, False)):
        # The loader is known to gdb by a link, so the same inode is looked for.
        files = HostFilesStub({PATH: (content, 3, 5), "/lib64/link": (content, 3, 5)})
        sysroot = Sysroot(files, Mappings(vmas), resident, PAGE, CRASH)
        for path in (PATH, "/lib64/link"):
            assert (sysroot.open(path) is not None) is there
        assert sysroot.open("/lib/none") is None


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_whatever_break_the_elf_reader(noise: bytes, at: int) -> None:
    content = bytearray(elf())
    content[at : at + len(noise)] = noise
    image = read_elf(lambda offset, count: bytes(content[offset : offset + count]))
    if image is not None:
        read_build_id(image, lambda offset, count: bytes(content[offset : offset + count]))
    assert image is None or len(image.segments) <= 256


# --- HostDirectory ---


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A sysroot with links of every kind, and a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/x.so").write_text("library")
    (root / "lib").symlink_to("usr/lib")
    (root / "lib64").symlink_to("/usr/lib")
    (root / "up").symlink_to("../secret")
    (root / "far").symlink_to("../../../../../../../../etc/passwd")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "etc").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    return root


@pytest.mark.parametrize(
    "path",
    ["/usr/lib/x.so", "/lib/x.so", "/lib64/x.so", "lib/x.so", "//lib/./x.so", "/../../lib/x.so",
     "/usr/../lib/x.so"],
)  # fmt: skip
def test_files_are_found_as_on_the_dumped_machine(tree: Path, path: str) -> None:
    file = HostDirectory(str(tree)).open(path)
    assert file is not None
    assert (file.size, file.read(0, 100), file.read(3, 2), file.read(7, 1)) == (
        7,
        b"library",
        b"ra",
        b"",
    )
    status = (tree / "usr/lib/x.so").stat()
    assert (file.inode, file.modified) == (status.st_ino, int(status.st_mtime))
    file.close()
    with pytest.raises(OSError):
        file.read(0, 1)


@pytest.mark.parametrize(
    "path",
    ["/up", "/far", "/absolute", "/etc/passwd", "/loop", "/fifo", "/usr", "/", "", "/none/x",
     "/../secret", "/lib/../../../secret", "/usr/lib/x.so/more", "/usr\0/lib/x.so", "/lib/.."],
)  # fmt: skip
def test_nothing_else_is_ever_opened(tree: Path, path: str) -> None:
    assert HostDirectory(str(tree)).open(path) is None


@given(st.lists(st.sampled_from(["..", ".", "", "up", "far", "etc", "lib", "secret", "usr"])))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    base = tmp_path_factory.mktemp("t")
    (base / "secret").write_text("secret")
    root = base / "root"
    (root / "usr").mkdir(parents=True)
    (root / "up").symlink_to("..")
    (root / "far").symlink_to(base)
    (root / "lib").symlink_to("/usr/../..")
    assert HostDirectory(str(root)).open("/" + "/".join([*parts, "secret"])) is None


def test_a_path_that_is_changed_meanwhile_leads_nowhere_else(tree: Path) -> None:
    """A folder turns into a link that leads out, and back, as quickly as it can."""
    (tree / "out").symlink_to(tree.parent)
    (tree / "usr/secret").write_text("no secret")
    directory = HostDirectory(str(tree))
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (tree / "usr").rename(tree / "aside")
            (tree / "out").rename(tree / "usr")
            (tree / "usr").rename(tree / "out")
            (tree / "aside").rename(tree / "usr")

    swapper = threading.Thread(target=swap)
    swapper.start()
    read: list[bytes] = []
    try:
        tries, give_up = 0, time.monotonic() + TIMEOUT
        while (tries < 3000 or not read) and time.monotonic() < give_up:
            tries += 1
            file = directory.open("/usr/secret")
            if file is not None:
                read.append(file.read(0, 100))
                file.close()
    finally:
        done.set()
        swapper.join()
    assert set(read) == {b"no secret"}


def test_a_fifo_is_not_even_opened(tree: Path) -> None:
    """That would wake whoever waits to write to it."""
    writer = threading.Thread(target=lambda: (tree / "fifo").open("wb").close(), daemon=True)
    writer.start()
    for _ in range(5):
        assert HostDirectory(str(tree)).open("/fifo") is None
        time.sleep(0.02)
    assert writer.is_alive()
    with (tree / "fifo").open("rb"):
        writer.join(TIMEOUT)
    assert not writer.is_alive()


def test_a_sysroot_of_the_whole_machine_does_not_show_its_kernel_and_processes() -> None:
    directory = HostDirectory("/")
    hosts = directory.open(__file__)
    assert hosts is not None
    hosts.close()
    for path in ("/proc/version", "/proc/self/environ", "/proc/kcore", "/sys/kernel/notes"):
        assert directory.open(path) is None
    assert Path("/proc/version").is_file()


def test_a_file_that_changes_is_no_longer_read(tree: Path) -> None:
    for change in (b"lib", b"more than there was"):
        file = HostDirectory(str(tree)).open("/lib/x.so")
        assert file is not None
        (tree / "usr/lib/x.so").write_bytes(change)
        with pytest.raises(OSError, match="has changed"):
            file.read(0, 3)
        file.close()


def test_a_file_that_changes_and_is_given_its_old_time_is_no_longer_read(tree: Path) -> None:
    path = tree / "usr/lib/x.so"
    time.sleep(0.05)  # the clock that files are stamped with ticks in 10 ms at most
    file = HostDirectory(str(tree)).open("/lib/x.so")
    assert file is not None
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(OSError, match="has changed"):
        file.read(0, 3)
    file.close()


def test_a_file_on_a_disk_that_stalls_keeps_nobody_from_other_files() -> None:
    go, waiting = threading.Event(), threading.Event()

    class Stalling(HostFileStub):
        def read(self, offset: int, count: int) -> bytes:
            waiting.set()
            assert go.wait(TIMEOUT)
            return super().read(offset, count)

    class Files(HostFilesStub):
        def open(self, path: str) -> HostFileStub | None:
            return Stalling(b"", 1, 1) if path == "/stalls" else super().open(path)

    vmas = [
        Vma(START, START + PAGE, "r--p", 0, "08:01", 7, PATH),
        Vma(START + PAGE, START + 2 * PAGE, "r--p", 0, "08:01", 1, "/stalls"),
    ]
    pages = Pages({}, {START: UNMAPPED, START + PAGE: UNMAPPED})
    mappings = Mappings(vmas)
    sysroot = Sysroot(Files({PATH: (b"x" * PAGE, 7, 5)}), mappings, pages, PAGE, CRASH)
    memory = ProcessMemory(pages, mappings, PAGE, lambda address: PAGE, files=sysroot)
    slow = threading.Thread(target=lambda: sysroot.open("/stalls"), daemon=True)
    slow.start()
    assert waiting.wait(TIMEOUT)
    assert memory.read(START, 4) == b"xxxx"
    assert slow.is_alive()
    go.set()
    slow.join(TIMEOUT)
    assert not slow.is_alive()


def test_descriptors_are_given_back(tree: Path) -> None:
    directory = HostDirectory(str(tree))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in ("/lib64/x.so", "/etc/passwd", "/none/x", "/loop", "/fifo"):
        file = directory.open(path)
        if file is not None:
            file.close()
    opened = directory.open("/lib/x.so")
    del opened  # a client that left
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("name", ["none", "file", "nul\0"])
def test_a_sysroot_that_is_no_directory_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--sysroot takes the directory") as caught:
        HostDirectory(f"{tmp_path}/{name}")
    assert "\n" not in str(caught.value)
