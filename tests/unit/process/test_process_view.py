"""open_process_view: what gdb sees of one process of a dump."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from kdump_gdbserver.application.process.process_view import open_process_view
from kdump_gdbserver.application.view import View
from kdump_gdbserver.cli.console import (
    executable_warnings,
    process_invitation,
    process_warnings,
    tcp_place,
)
from kdump_gdbserver.domain.arch import ARCHITECTURES, I386, X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote
from kdump_gdbserver.domain.errors import MemoryFault, SidecarError
from kdump_gdbserver.domain.sidecars import DumpIdentity, ProcessImage
from tests.support.fake_dump import FakeDump, FakeSymbolFile
from tests.support.fake_kernel import fake_kernel
from tests.unit.process.process_support import (
    BUILD_ID,
    PAGE,
    HostFilesStub,
    ThreadFields,
    elf,
    file_vmas,
    image_of,
    pages_of,
    thread,
)

ROOT = 0x5000
CODE = 0x5555_0000_0000


def dump_of(
    pages: dict[int, bytes] | None = None,
    arch: Arch = X86_64,
    notes: Callable[[list[CpuNote]], list[CpuNote]] = lambda notes: notes,
    **kernel: object,
) -> FakeDump:
    """Return a fake kernel's dump with one process, whose page table is at `ROOT`."""
    made = fake_kernel(arch, **{"possible": 3, "pids": {1: 101, 2: 102}, **kernel})  # type: ignore[arg-type]
    made = dataclasses.replace(made, notes=notes(list(made.notes)))
    dump = made.dump()
    segments = {str(at): (at, data) for at, data in (pages or {}).items()}
    dump.processes = {ROOT: segments}
    return dump


def shown(view: View) -> list[tuple[tuple[int, int], str, int | None]]:
    return [((t.id.pid, t.id.tid), t.extra, t.core) for t in view.threads]


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
def test_threads_are_named_by_pid_and_tid(arch: Arch) -> None:
    image = image_of(
        thread(100, {arch.pc: 0x1000}),
        thread(101, {arch.pc: 0x2000, arch.sp: 0x9000}, cpu=1, user_mode=False),
        arch=arch.name,
    )
    view = open_process_view(dump_of(arch=arch), image)
    assert shown(view) == [
        ((100, 100), 'pid 100 LWP 100 "t100"', None),
        ((100, 101), 'pid 100 LWP 101 "t101"', 1),
    ]
    assert view.current.id.tid == 101
    assert [dict(t.registers.items()) for t in view.threads] == [
        {arch.pc: 0x1000},
        {arch.pc: 0x2000, arch.sp: 0x9000},
    ]
    assert (view.arch, view.auxv, view.exec_file) == (arch, None, None)


def test_names_that_cannot_be_printed_are_shown_as_escapes() -> None:
    odd = dataclasses.replace(thread(100, {}), comm='a"\x1b]\n')
    view = open_process_view(dump_of(), image_of(odd))
    assert view.current.extra == 'pid 100 LWP 100 "a"\\x1b]\\n"'


def in_user_mode(number: int) -> Callable[[list[CpuNote]], list[CpuNote]]:
    def change(notes: list[CpuNote]) -> list[CpuNote]:
        registers = {**notes[number].registers, "rip": 0x401234, "cs": 0x33, "fs_base": 0}
        notes[number] = dataclasses.replace(notes[number], registers=registers)
        return notes

    return change


def test_a_thread_in_user_mode_has_its_cpus_registers() -> None:
    running = thread(101, {"rip": 0x9999, "fs_base": 0x7F00}, cpu=1, fpregs={"xmm0": 3})
    dump = dump_of(notes=in_user_mode(1), hypervisor=True, pids={1: 101, 2: 102})
    view = open_process_view(dump, image_of(thread(100, {"rip": 1}), running))
    assert view.current.id.tid == 101
    assert (view.current.registers["rip"], view.current.registers["fs_base"]) == (0x401234, 0x7F00)
    assert "xmm0" not in view.current.registers


@pytest.mark.parametrize("more", [{"user_mode": False, "cpu": 1}, {"cpu": 2}])
def test_registers_of_another_threads_cpu_are_not_taken(more: ThreadFields) -> None:
    running = thread(101, {"rip": 0x9999}, **more)
    dump = dump_of(notes=in_user_mode(int(str(running.cpu))), hypervisor=True)
    view = open_process_view(dump, image_of(thread(100, {}), running))
    assert view.current.registers["rip"] == 0x9999


def test_without_cpus_in_the_sidecar_the_dumps_pids_tell_them() -> None:
    image = image_of(thread(100, {"rip": 1}), thread(102, {"rip": 2}), arch=None)
    view = open_process_view(dump_of(), image)
    assert view.current.id.tid == 102
    assert view.current.core == 2


def test_of_several_on_a_cpu_the_panicking_one_is_current() -> None:
    image = image_of(*(thread(tid, {}, cpu=tid - 100) for tid in (100, 101, 102)))
    view = open_process_view(dump_of(panic_cpu=2, online=[0, 1, 2]), image)
    assert view.current.id.tid == 102


def test_nobody_on_a_cpu_the_leader_is_current() -> None:
    image = image_of(thread(205, {}), thread(100, {}))
    assert open_process_view(dump_of(), image).current.id.tid == 100
    assert open_process_view(dump_of(), image_of(thread(205, {}))).current.id.tid == 205


def test_memory_is_the_process_s_and_the_kernel_half_an_error() -> None:
    view = open_process_view(dump_of({0x10000: b"bytes"}), image_of(thread(100, {})))
    memory = view.open_memory()
    assert memory.read(0x10000, 5) == b"bytes"
    for address in (0, 0x10005, 0xFFFFFFFF81000000):
        with pytest.raises(MemoryFault):
            memory.read(address, 1)


@pytest.mark.fake_alone
def test_a_page_table_that_is_none_is_a_sidecar_error() -> None:
    image = dataclasses.replace(image_of(thread(100, {})), rootpgt=0x7000)
    with pytest.raises(SidecarError, match=r"p\.json: rootpgt: 0x7000 is no page table") as caught:
        open_process_view(dump_of(), image)
    assert "\n" not in str(caught.value)


def test_pid_0_is_no_process() -> None:
    with pytest.raises(SidecarError, match=r"p\.json: pid: is 0"):
        open_process_view(dump_of(), dataclasses.replace(image_of(thread(1, {})), pid=0))


def test_a_sidecar_of_another_dump_is_refused() -> None:
    image = dataclasses.replace(
        image_of(thread(100, {})), identity=DumpIdentity("x86_64", release="9.9.9", source="p.json")
    )
    dump = dump_of()
    dump.facts = dataclasses.replace(dump.facts, release="6.1.0")
    with pytest.raises(SidecarError, match="another dump"):
        open_process_view(dump, image)


def test_a_32_bit_process_is_i386() -> None:
    registers = {"rip": 0x8048000, "rsp": 0xFFFFD000, "rax": 5}
    view = open_process_view(dump_of(), image_of(thread(100, registers), mode=32, auxv=b"\0" * 8))
    assert (view.arch, view.layout) == (I386, I386.layout())
    assert dict(view.current.registers.items()) == {
        "eax": 5,
        "esp": 0xFFFFD000,
        "eip": 0x8048000,
    }
    assert view.auxv == b"\0" * 8


def test_files_and_a_sysroot() -> None:
    content = elf()
    vmas = file_vmas("/bin/prog", CODE)
    image = image_of(thread(100, {}), vmas=vmas, exe="/bin/prog", cmdline=("prog", "x"))
    dump = dump_of({CODE: content[:PAGE]})
    alone = open_process_view(dump, image)
    assert alone.files is not None
    assert alone.exec_file == "/bin/prog"
    assert alone.files.open("/bin/prog") is None
    cmdline = alone.files.open("/proc/100/cmdline")
    assert cmdline is not None
    assert cmdline.read(0, 99) == b"prog\0x\0"
    with pytest.raises(MemoryFault, match="--sysroot DIR may have"):
        alone.open_memory().read(CODE + PAGE, 1)
    helped = open_process_view(dump, image, HostFilesStub({"/bin/prog": (content, 1, 1)}))
    assert helped.files is not None
    file = helped.files.open("/bin/prog")
    assert file is not None
    assert file.size == len(content)
    assert helped.open_memory().read(CODE + PAGE, 1) == b"\x11"


def test_an_executable_of_another_build_is_warned_of() -> None:
    content = elf()
    image = image_of(thread(100, {}), vmas=file_vmas("/bin/prog", CODE), exe="/bin/prog")
    view = open_process_view(dump_of({CODE: content[:PAGE]}), image)
    same, other = BUILD_ID.hex(), "ee" * 20
    assert executable_warnings(view, FakeSymbolFile({}, build_id=same), "prog") == []
    assert executable_warnings(view, FakeSymbolFile({}, build_id=None), "prog") == []
    assert executable_warnings(view, FakeSymbolFile({}, build_id=other), "prog") == [
        f"prog is not the process's executable /bin/prog: its build-id is {other}, the dump's"
        f" {same}; names and backtraces will be wrong"
    ]
    unknown = open_process_view(dump_of({}), image)
    assert executable_warnings(unknown, FakeSymbolFile({}, build_id=other), "prog") == []


@pytest.mark.parametrize(
    ("siginfo", "expected"),
    [
        (None, None),
        ({"si_signo": 11}, None),
        ({"si_signo": 11, "bytes": "0b" * 128}, b"\x0b" * 128),
        ({"bytes": "0b" * 127}, None),
        ({"bytes": "no hex"}, None),
        ({"bytes": 11}, None),
    ],
)
def test_the_signal_that_was_waiting_is_a_whole_siginfo_or_none(
    siginfo: dict[str, int | str] | None, expected: bytes | None
) -> None:
    view = open_process_view(dump_of(), image_of(thread(100, {}, siginfo=siginfo)))
    assert view.threads[0].siginfo == expected
    # That of a 32-bit process has another layout than the one in the kernel.
    compat = image_of(thread(100, {}, siginfo=siginfo), mode=32)
    assert open_process_view(dump_of(), compat).threads[0].siginfo is None


def offset_of(image: ProcessImage, pages: dict[int, bytes]) -> int | None:
    return open_process_view(dump_of(pages), image).placement.offset


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("tells_mappings", [True, False])
def test_the_load_offset_is_where_the_executable_begins(bits: int, tells_mappings: bool) -> None:
    """Though the sidecar has the first code, which is a page behind it in today's programs."""
    content = elf(bits=bits)
    vmas = file_vmas("/bin/prog", CODE) if tells_mappings else []
    exe = "/bin/prog" if tells_mappings else None
    image = image_of(thread(100, {}), vmas=vmas, exe=exe, loadaddr=CODE + PAGE)
    assert offset_of(image, pages_of(CODE, content[: 2 * PAGE])) == CODE


def test_an_executable_that_cannot_be_moved_has_none() -> None:
    content = elf(kind=2, base=0x400000)
    image = image_of(thread(100, {}), loadaddr=0x401000)
    assert offset_of(image, pages_of(0x400000, content[: 2 * PAGE])) is None


def test_without_the_headers_the_executable_begins_where_it_is_mapped() -> None:
    """As in a dump without user pages. `loadaddr` is a page behind: it is the first code's."""
    vmas = [*file_vmas("/bin/other", CODE - 64 * PAGE), *file_vmas("/bin/prog", CODE)]
    image = image_of(thread(100, {}), vmas=vmas, exe="/bin/prog", loadaddr=CODE + PAGE)
    assert offset_of(image, {}) == CODE
    for linked_at, expected in ((0x40, CODE), (0x1000, CODE - 0x1000), (CODE + 0x40, None)):
        executable = FakeSymbolFile({}, first_segment=linked_at)
        view = open_process_view(dump_of({}), image, symbol_file=executable)
        assert view.placement.offset == expected


def test_without_the_headers_the_sidecar_is_believed() -> None:
    assert offset_of(image_of(thread(100, {}), loadaddr=0x41E000), {}) == 0x41E000
    # A library lies before the code; its own code is not there.
    stray = pages_of(CODE, elf()[:PAGE])
    assert offset_of(image_of(thread(100, {}), loadaddr=CODE + 8 * PAGE), stray) == CODE + 8 * PAGE


def test_the_lines_printed() -> None:
    assert process_invitation(tcp_place("localhost", 1234), None, 0x41E000).splitlines() == [
        "Waiting for incoming connection on localhost port 1234",
        "In gdb execute the following command(s) to connect:",
        "# If you use PIE executable use the following command to correctly",
        "# load process symbols",
        "file <executable> -o 0x41e000",
        "target remote localhost:1234",
    ]
    assert process_invitation(tcp_place("localhost", 1), "/bin/bash", None).splitlines() == [
        "Waiting for incoming connection on localhost port 1",
        "In gdb execute the following command(s) to connect:",
        "file /bin/bash",
        "target remote localhost:1",
    ]


@pytest.mark.parametrize(
    ("level", "sysroot", "expected"),
    [
        (None, None, ""),
        (0, None, ""),
        (17, None, ""),
        (23, None, "-d 23, without the page cache"),
        (23, "/root", ""),
        (31, None, "-d 31, without user pages"),
        (31, "/root", "-d 31, without user pages"),
    ],
)
def test_a_filtered_dump_is_warned_of(
    level: int | None, sysroot: str | None, expected: str
) -> None:
    dump = dump_of()
    dump.facts = dataclasses.replace(dump.facts, dump_level=level)
    found = process_warnings(dump, sysroot)
    assert len(found) == bool(expected)
    assert expected in "".join(found)


def test_info_os_lists_this_process_its_threads_and_the_cpus() -> None:
    image = image_of(thread(100, {}), thread(101, {}, cpu=1))
    tables = open_process_view(dump_of(), image).os_tables
    shown = {table.name: (table.columns, list(table.rows())) for table in tables}
    assert shown == {
        "processes": (("pid", "command", "cores"), [("100", "prog", "1")]),
        "threads": (
            ("pid", "command", "tid", "core"),
            [("100", "t100", "100", ""), ("100", "t101", "101", "1")],
        ),
        "cpus": (("cpu", "pid"), [("0", "0"), ("1", "101"), ("2", "102")]),
    }
    assert all("this process" in table.description for table in tables if table.name != "cpus")
