"""ProcFiles: /proc of a dumped process, and nothing else of any machine."""

from __future__ import annotations

import dataclasses
import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.process.mapped_files import Mappings
from kdump_gdbserver.application.process.proc_files import ProcFiles
from kdump_gdbserver.application.process.sysroot import Sysroot
from kdump_gdbserver.domain.errors import FaultReason
from kdump_gdbserver.domain.sidecars import Vma
from kdump_gdbserver.ports.remote_files import MadeInSteps
from tests.unit.process.process_support import PAGE, HostFilesStub, Pages, image_of, thread

HEAP = 0x5555_5557_5000
VMAS = (
    Vma(0x400000, 0x402000, "r-xp", 0x1000, "8:1", 1234567, "/usr/bin/odd (na) me"),
    Vma(HEAP, HEAP + 4 * PAGE, "rw-p", path="[heap]"),
    Vma(0x7F00_0000_0000, 0x7F00_0000_1000, "---p"),
    Vma(0x7FFF_0000_0000, 0x7FFF_0000_1000, "r--s", 0, "fd:1f", 9, "/a\nb"),
)
AUXV = bytes(range(32))
IMAGE = image_of(
    thread(100, {}),
    thread(101, {}, cpu=3),
    vmas=VMAS,
    auxv=AUXV,
    exe="/usr/bin/odd (na) me",
    cmdline=("odd", "two words", ""),
    cwd="/var/lib/odd",
)


def files_of(pages: Pages | None = None, others: Sysroot | None = None) -> ProcFiles:
    return ProcFiles(IMAGE, lambda: pages or Pages({}), PAGE, others)


def content(files: ProcFiles, path: str) -> bytes | None:
    file = files.open(path)
    if isinstance(file, MadeInSteps):
        for _ in file.prepare():
            pass
    return None if file is None else file.read(0, file.size)


def test_maps_is_as_the_kernel_writes_it() -> None:
    text = content(files_of(), "/proc/100/maps")
    assert text is not None
    assert text.decode().split("\n") == [
        "00400000-00402000 r-xp 00001000 08:01 1234567                            "
        "/usr/bin/odd (na) me",
        "555555575000-555555579000 rw-p 00000000 00:00 0                          [heap]",
        "7f0000000000-7f0000001000 ---p 00000000 00:00 0 ",
        "7fff00000000-7fff00001000 r--s 00000000 fd:1f 9                          /a\\012b",
        "",
    ]
    for path in ("/proc/100/task/101/maps", "/proc/101/maps", "/proc/100/task/100/maps"):
        assert content(files_of(), path) == text


def test_what_gdb_asks_for() -> None:
    files = files_of()
    assert content(files, "/proc/100/cmdline") == b"odd\0two words\0\0"
    assert content(files, "/proc/100/auxv") == AUXV
    assert content(files, "/proc/100/comm") == b"t100\n"
    assert content(files, "/proc/100/task/101/comm") == b"t101\n"
    assert content(files, "/proc/100/coredump_filter") == b"0000007f\n"
    status = content(files, "/proc/100/task/101/status")
    assert status is not None
    assert dict(line.split(":\t") for line in status.decode().splitlines()) == {
        "Name": "t101",
        "State": "R (running)",
        "Tgid": "100",
        "Pid": "101",
        "VmSize": "      32 kB",
        "Threads": "2",
    }


def test_stat_ends_where_the_sidecar_tells_no_more() -> None:
    """gdb prints each field that is there; 0 would be a parent, a stack, a size of 0."""
    files = files_of()
    assert content(files, "/proc/100/task/101/stat") == b"101 (t101) R"
    assert content(files, "/proc/100/stat") == b"100 (t100)"


def test_a_torn_sidecar_tells_no_totals() -> None:
    image = dataclasses.replace(IMAGE, errors=("thread list: cannot read 0x10",))
    status = content(ProcFiles(image, lambda: Pages({}), PAGE), "/proc/100/status")
    assert status == b"Name:\tt100\nTgid:\t100\nPid:\t100\n"


def test_links() -> None:
    files = files_of()
    assert files.read_link("/proc/100/exe") == "/usr/bin/odd (na) me"
    assert files.read_link("/proc/100/cwd") == "/var/lib/odd"
    for path in ("/proc/7/cwd", "/proc/100/root", "/proc/7/exe", "/proc/self/exe", "/bin/sh"):
        assert files.read_link(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/proc/1/maps",
        "/proc/102/maps",
        "/proc/100/task/1/maps",
        "/proc/self/maps",
        "/proc/100/environ",
        "/proc/100/mem",
        "/proc/100/../../etc/passwd",
        "/proc/100",
        "/proc/cpuinfo",
        "/proc",
        "/etc/passwd",
        "/usr/bin/odd (na) me",
        "",
    ],
)
def test_every_other_file_does_not_exist(path: str) -> None:
    assert files_of().open(path) is None


def test_only_a_sysroot_adds_files_and_none_below_proc() -> None:
    contents = dict.fromkeys(("/lib/x.so", "/proc/cpuinfo", "/proc/100/mem"), (b"x", 1, 1))
    sysroot = Sysroot(HostFilesStub(contents), Mappings([]), Pages({}), PAGE, None)
    files = files_of(others=sysroot)
    assert content(files, "/lib/x.so") == b"x"
    assert files.open("/proc/cpuinfo") is None
    assert files.open("/proc/100/mem") is None


SPAN = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (....)", re.MULTILINE)


def pieces(smaps: bytes) -> list[tuple[int, int, bool]]:
    """Return what gdb's gcore is told to copy (True) and to leave out."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps.decode(), flags=re.MULTILINE)[1:]
    result = []
    for part in parts:
        match = SPAN.match(part)
        assert match
        copied = "Anonymous:" not in part
        assert copied is not ("dd" in part.split("VmFlags:")[1].split())
        result.append((int(match[1], 16), int(match[2], 16), copied))
    return result


@given(st.sets(st.integers(0, 3)), st.sampled_from([FaultReason.SWAPPED, FaultReason.UNMAPPED]))
def test_smaps_tells_gcore_apart_what_can_be_read(there: set[int], reason: FaultReason) -> None:
    pages = Pages(
        {HEAP + n * PAGE: b"h" * PAGE for n in there},
        {HEAP + n * PAGE: reason for n in range(4)},
    )
    smaps = content(files_of(pages), "/proc/100/smaps")
    assert smaps is not None
    found = pieces(smaps)
    heap = [(start, end, copied) for start, end, copied in found if HEAP <= start < HEAP + 4 * PAGE]
    assert heap[0][0] == HEAP
    assert heap[-1][1] == HEAP + 4 * PAGE
    for (_, end, copied), (start, _, following) in itertools.pairwise(heap):
        assert end == start
        assert copied is not following
    for start, end, copied in heap:
        for address in range(start, end, PAGE):
            assert ((address - HEAP) // PAGE in there) is copied
    assert (0x400000, 0x402000, False) in found
    assert (0x7F00_0000_0000, 0x7F00_0000_1000, False) in found


def test_a_vast_mapping_without_pages_does_not_take_for_ever() -> None:
    image = image_of(thread(100, {}), vmas=[Vma(1 << 40, 1 << 46, "rw-s", 0, "00:01", 5, "/x")])
    asked = 0

    class Counting(Pages):
        def read(self, address: int, length: int) -> bytes:
            nonlocal asked
            asked += 1
            return super().read(address, length)

    files = ProcFiles(image, lambda: Counting({}), PAGE)
    smaps = content(files, "/proc/100/smaps")
    assert smaps is not None
    assert pieces(smaps) == [(1 << 40, 1 << 46, False)]
    assert asked < 1 << 18


@pytest.mark.parametrize("path", ["/proc/{}/maps", "/proc/100/task/{}/comm"])
def test_a_pid_of_thousands_of_digits_is_no_process(path: str) -> None:
    assert files_of().open(path.format("1" * 5000)) is None


def test_smaps_of_a_vast_mapping_that_reads_as_zeros_is_made_in_short_steps() -> None:
    """Nobody can wait for 16 TiB; who does can interrupt it."""
    image = image_of(thread(100, {}), vmas=[Vma(1 << 40, 17 << 40, "rw-p", 0, "00:00", 0, "")])

    class Zeros(Pages):
        def read(self, address: int, length: int) -> bytes:
            return bytes(length)

    file = ProcFiles(image, lambda: Zeros({}), PAGE).open("/proc/100/smaps")
    assert isinstance(file, MadeInSteps)
    assert file.size == 0
    with pytest.raises(OSError, match="not made yet"):
        file.read(0, 10)
    steps = file.prepare()
    for _ in range(20):
        begun = time.process_time()
        next(steps)
        assert time.process_time() - begun < 0.5
