"""A real LLDB on the sample dump."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.gdb_session import gdb, serve
from tests.support.lldb_session import lldb, lldb_frames

pytestmark = pytest.mark.usefixtures("each_debugger")

SAMPLE = Path(__file__).parent.parent / "sample"
VMCORE, VMLINUX = SAMPLE / "toy-vmcore", SAMPLE / "toy-vmlinux"
FACTS = json.loads((SAMPLE / "facts.json").read_text())
REGISTERS = FACTS["threads"][0]["registers"]
BANNER = FACTS["symbols"]["linux_banner"]
UNMAPPED = FACTS["unmapped"][0]["virtual"]


def test_threads_have_the_cpus_names() -> None:
    with serve(VMCORE) as server:
        text = lldb(server, "thread list", file=VMLINUX)
    first, second = re.findall(r"^[* ] thread #[12]: tid = .*$", text, re.MULTILINE)
    assert first.startswith("* thread #1: tid = 1, ")
    assert "name = 'CPU #0 pid 386', stop reason = signal SIGTRAP" in first
    assert second.endswith("name = 'CPU #1 idle'")


def test_backtraces_are_those_of_gdb() -> None:
    with serve(VMCORE) as server:
        text = lldb(server, "thread backtrace all", file=VMLINUX)
    first, second = text.split("thread #2")[-2:]
    names = lldb_frames(first.split("(lldb) thread backtrace all")[-1])
    assert names[:3] == ["crash_setup_regs", "__crash_kexec", "panic"]
    assert names[-1] == "entry_SYSCALL_64"
    assert 'panic(fmt="sysrq triggered crash\\n")' in text
    assert lldb_frames(second)[-1] == "secondary_startup_64_no_verify"


def test_a_relocated_kernel_is_where_it_ran() -> None:
    with serve(VMCORE) as server:
        text = lldb(server, "image list", "image lookup --address " + BANNER, file=VMLINUX)
    start = FACTS["symbols"]["_stext"].removeprefix("0x")
    assert re.search(rf"^\[  0\] .* 0x{start} .*toy-vmlinux", text, re.MULTILINE), text
    assert "linux_banner" in text


def test_registers_known_and_unknown() -> None:
    """Those that the dump lacks are unavailable, not made up."""
    with serve(VMCORE) as server:
        text = lldb(server, "register read rip rsp rbx rflags fs_base st0", file=VMLINUX)
    for name in ("rip", "rsp", "rbx", "fs_base"):
        assert re.search(rf"^ *{name} = {int(REGISTERS[name], 16):#018x}", text, re.MULTILINE), text
    assert re.search(r"^ *st0 += error: unavailable", text, re.MULTILINE), text


def test_memory() -> None:
    with serve(VMCORE) as server:
        text = lldb(
            server,
            f"memory read --size 1 --count 64 --format C {BANNER}",
            f"x/s {BANNER}",
            file=VMLINUX,
        )
        failed = lldb(server, f"memory read {UNMAPPED}", file=VMLINUX)
    assert FACTS["linux_banner"][:40] in text
    assert re.search(r"^error: ", failed, re.MULTILINE), failed


def test_binary_reads_fetch_the_same_bytes(tmp_path: Path) -> None:
    """LLDB's older `x`, without a prefix: 52 KiB, compared with gdb's by `m`."""
    start = int(FACTS["symbols"]["_stext"], 16)
    ours, theirs = tmp_path / "lldb", tmp_path / "gdb"
    with serve(VMCORE) as server:
        command = f"memory read --force --binary --outfile {ours} --count 53248 {start:#x}"
        text = lldb(server, "log enable gdb-remote packets", command, file=VMLINUX)
        gdb(server, f"dump memory {theirs} {start:#x} {start + 53248:#x}", ugly=True)
    assert re.search(r"send packet: \$xffffffff8a2", text)
    assert len(theirs.read_bytes()) == 53248
    assert ours.read_bytes() == theirs.read_bytes()


def test_memory_regions() -> None:
    with serve(VMCORE) as server:
        text = lldb(
            server,
            f"memory region {FACTS['symbols']['_stext']}",
            "memory region 0x1000",
            "memory region 0x1234567890abcdef",
            file=VMLINUX,
        )
    assert "[0xffffffff8a200000-0xffffffff8a400000) rwx" in text
    assert re.search(r"^\[0x0000000000000000-0x[0-9a-f]{16}\) ---$", text, re.MULTILINE), text
    # All that is not canonical, and the hole behind it, are one.
    canonical, rest = re.findall(r"^\[(0x[0-9a-f]{16})-0x[0-9a-f]{16}\) ---$", text, re.MULTILINE)
    assert int(canonical, 16) == 0
    assert int(rest, 16) in (0, 1 << 47)  # newer LLDBs know the region by then


def test_monitor_commands_through_lldb() -> None:
    with serve(VMCORE) as server:
        text = lldb(server, "process plugin packet monitor info", file=VMLINUX)
    assert re.search(r"^release       6\.1\.0-toy$", text, re.MULTILINE), text
    assert "response: OK" in text


def test_without_a_file_the_machine_is_known_all_the_same() -> None:
    with serve(VMCORE) as server:
        text = lldb(server, "target list", f"x/s {BANNER}", "register read rip")
    assert "arch=x86_64-" in text
    assert FACTS["linux_banner"][:40] in text
    assert f"rip = {int(REGISTERS['rip'], 16):#018x}" in text


def test_a_dump_cannot_be_changed() -> None:
    with serve(VMCORE) as server:
        for attempt in (f"memory write {BANNER} 1", "register write rax 1"):
            text = lldb(server, attempt, file=VMLINUX)
            assert re.search(r"^error: .*(failed|Failed)", text, re.MULTILINE), text
        assert FACTS["linux_banner"][:40] in lldb(server, f"x/s {BANNER}", file=VMLINUX)


def test_detach_and_come_back() -> None:
    with serve(VMCORE) as server:
        for _ in range(2):
            text = lldb(server, "process detach", file=VMLINUX)
            assert "Process 1 detached" in text
        assert "crash_setup_regs" in lldb(server, "bt", file=VMLINUX)
