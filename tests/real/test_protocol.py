"""The whole protocol on real dumps: monitor, search, extended mode, LLDB, a recorded session."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.domain.errors import MemoryFault
from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.real.test_kernel_mode import current_pids
from tests.support.gdb_session import Server, find_program, gdb, serve
from tests.support.lldb_session import lldb, lldb_frames
from tests.support.remote_log import exchanges
from tests.support.running import worker_of

# What a working session asks for, one of each kind.
SESSION = [
    "info threads",
    "thread apply all bt",
    "info registers",
    "p init_uts_ns.name",
    "p $_siginfo",
    "ptype struct list_head",
    "x/16gx $sp",
    "x/i $pc",
    "x/gx 0x1000",
    "find /b &linux_banner, +100, 0x36, 0x2e",
    "compare-sections .notes",
    "info auxv",
    "info os",
    "info os cpus",
    "info sharedlibrary",
    "info proc mappings",
    "info inferiors",
    "info all-registers",
    "monitor info",
    "monitor dmesg",
    "monitor stats",
    "tstatus",
    "stepi",
    "finish",
    "p $rax = 1",
    "set var panic_cpu.counter = 5",
    "hbreak panic",
    "watch panic_cpu",
    "continue",
    "generate-core-file /nonexistent/core",
    "thread 2",
    "detach",
]


def test_a_recorded_session_has_no_packet_unanswered(panicked: RealDump) -> None:
    before = [f"file {panicked.vmlinux}", "set debug remote 1"]
    with serve(panicked.dumps["elf"][0]) as server:
        text = gdb(server, *SESSION, before=before, ugly=True)
    found = exchanges(text)
    assert len(found) > 100
    assert [packet for packet, reply in found if reply is None] == []
    empty = {packet.split(":")[0] for packet, reply in found if reply == ""}
    assert empty <= {"vMustReplyEmpty", "qTStatus", "vCont?", "qExecAndArgs"}, empty
    assert "Traceback" not in text


def test_info_tells_what_the_guest_said(panicked: RealDump) -> None:
    with serve(panicked.dumps["kdump-zlib"][0]) as server:
        text = gdb(server, "monitor info", before=[f"file {panicked.vmlinux}"])
    assert re.search(rf"^release +{re.escape(panicked.release)}$", text, re.MULTILINE), text
    assert re.search(r"^panic +Kernel panic - not syncing: sysrq triggered crash$", text, re.M)
    assert re.search(r"^CPUs +3 with registers$", text, re.MULTILINE)
    assert re.search(r"^format +diskdump, zlib \(flattened\)$", text, re.MULTILINE)
    assert re.search(r"^memory +51[0-9]\.\d MiB in the dump$", text, re.MULTILINE)
    assert "found by panic_cpu" in text


def test_dmesg_is_the_guests_own_and_the_panic(panicked: RealDump) -> None:
    """All that the living kernel had logged, then what it said when it died."""
    with serve(panicked.dumps["elf"][0]) as server:
        text = gdb(server, "monitor dmesg", ugly=True)  # no file is loaded
    living = [line.rstrip() for line in panicked.facts["dmesg"].splitlines() if line.strip()]
    logged = [line.rstrip() for line in text.splitlines() if re.match(r"\[ *\d", line)]
    texts = [re.sub(r"^\[ *[\d.]+\] ?", "", line) for line in logged]
    expected = [re.sub(r"^(<\d+>)?\[ *[\d.]+\] ?", "", line) for line in living]
    assert len(expected) > 100
    rest = iter(texts)
    lost = [line for line in expected if not any(line == other for other in rest)]
    assert lost == [], lost[:3]
    assert "---[ end Kernel panic - not syncing: sysrq triggered crash ]---" in texts[-1]


@pytest.mark.parametrize("form", ["elf", "flattened", "d0-zlib", "split"])
def test_vtop_and_phys_show_the_same_bytes_as_gdb(form: str) -> None:
    """In dumps of every form, and for ELF the bytes are at that place of the file."""
    dump = get_dump("6.1", "kdump")
    if form not in dump.dumps:
        pytest.fail(f"harness made no {form} dump; it has {sorted(dump.dumps)}")
    load = [f"file {dump.vmlinux}"]
    with serve(dump.dumps[form]) as server:
        text = gdb(
            server,
            "p/x (unsigned long)&linux_banner",
            "output/x *(unsigned char(*)[16])linux_banner",
            "echo \\n",
            "python gdb.execute('monitor vtop %#x' % int(gdb.parse_and_eval('(long)linux_banner')"
            " & 0xffffffffffffffff))",
            before=load,
        )
        bytes_ = re.search(r"^\{(0x[0-9a-f]+(?:, 0x[0-9a-f]+)*)\}", text, re.MULTILINE)
        physical = re.search(r"^physical  (0x[0-9a-f]+), in a page of 2 MiB$", text, re.MULTILINE)
        place = re.search(r"^file      (\S+) at (0x[0-9a-f]+) \((.*)\)$", text, re.MULTILINE)
        assert bytes_ and physical and place, text
        shown = gdb(server, f"monitor phys {physical[1]} 16", before=load)
    raw = bytes(int(byte, 16) for byte in bytes_[1].split(", "))
    assert raw.hex(" ") in shown
    assert Path(place[1]) in [Path(path) for path in dump.dumps[form]]
    if form == "elf":
        with Path(place[1]).open("rb") as file:
            file.seek(int(place[2], 16))
            assert file.read(16) == raw
    else:
        assert "compressed with zlib" in place[3] or "as it is" in place[3]


def test_why_explains_pages_that_makedumpfile_left_out() -> None:
    """User pages are filtered at level 31; the page tables still lead there."""
    dump = get_dump("6.1", "kdump")
    with serve(dump.dumps["d31-zlib"]) as server:
        text = gdb(
            server,
            "python import gdb\nfor n in range(0x100000, 0x1000000, 0x100000):\n"
            " gdb.execute('monitor why %#x' % (int(gdb.parse_and_eval("
            "'(unsigned long)page_offset_base')) + n))",
            before=[f"file {dump.vmlinux}"],
        )
    assert re.search(r"cannot be read: page is not in the dump", text), text
    assert "filtered out by makedumpfile: cache pages, private cache pages, user" in text
    assert "the page tables say that it is at physical address 0x" in text


def test_pages_of_zeros_are_not_said_to_be_filtered() -> None:
    """Those that are not free can be read at level 31: the file keeps one page for all."""
    dump = get_dump("6.1", "kdump")
    opener = KdumpfileOpener()
    whole = opener.open([str(path) for path in dump.dumps["d0-zlib"]]).physical()
    filtered = opener.open([str(path) for path in dump.dumps["d31-zlib"]])
    memory, zeros = filtered.physical(), bytes(4096)
    readable = 0
    for address in range(0, 0x2000_0000, 4096):
        with contextlib.suppress(MemoryFault):
            if memory.read(address, 4096) == zeros:
                assert whole.read(address, 4096) == zeros
                readable += 1
    assert readable > 1000
    assert filtered.facts.dump_level == 31
    assert filtered.facts.missing_pages is not None
    assert "zero" not in filtered.facts.missing_pages


def _timed_find(server: Server, dump: RealDump) -> tuple[str, float]:
    """Return what gdb printed and the seconds of a processor that the server needed for it."""
    worker = worker_of(server.process.pid)
    command = (
        "python\nimport os, gdb\n"
        "def used():\n"
        f"    words = open('/proc/{worker}/stat').read().rpartition(')')[2].split()\n"
        "    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')\n"
        "start = int(gdb.parse_and_eval('(unsigned long)page_offset_base'))\n"
        "before = used()\n"
        "gdb.execute('find /b %#x, +0x10000000, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 250' % start)\n"
        "print('seconds %.3f' % (used() - before))"
    )
    text = gdb(server, command, before=[f"file {dump.vmlinux}"])
    seconds = re.search(r"^seconds ([\d.]+)$", text, re.MULTILINE)
    assert seconds, text
    return text, float(seconds[1])


def test_find_over_256_mib_takes_well_under_a_second(panicked: RealDump) -> None:
    """The direct mapping's first 256 MiB, with its holes."""
    with serve(panicked.dumps["elf"][0]) as server:
        text, seconds = _timed_find(server, panicked)
    assert "Pattern not found." in text
    assert seconds < 5  # a quarter of a second on a core of 2023


def test_find_finds_what_is_there(panicked: RealDump) -> None:
    with serve(panicked.dumps["elf"][0]) as server:
        text = gdb(
            server,
            "find /b (unsigned long)linux_banner - 0x10000, +0x20000, "
            + ", ".join(f"{byte:#x}" for byte in b"Linux version 6"),
            "p (unsigned long)linux_banner",
            before=[f"file {panicked.vmlinux}"],
        )
    assert re.search(r"^0x[0-9a-f]+ <linux_banner>$", text, re.MULTILINE), text


def test_qemus_physical_mode(panicked: RealDump) -> None:
    with serve(panicked.dumps["elf"][0]) as server:
        text = gdb(
            server,
            "monitor vtop 0xffffffff80000000",
            "maint packet Qqemu.PhyMemMode:1",
            "x/4bx 0xf0000",
            "maint packet Qqemu.PhyMemMode:0",
            "x/s linux_banner",
            before=[f"file {panicked.vmlinux}"],
        )
    assert re.search(r"^0xf0000:(\t0x[0-9a-f]{2}){4}$", text, re.MULTILINE), text
    assert '"Linux version' in text


@pytest.fixture(scope="module")
def slim(panicked: RealDump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vmlinux with symbols and call frame information only, as docs/editors.md advises."""
    target = tmp_path_factory.mktemp("slim") / "vmlinux"
    subprocess.run(
        [find_program("objcopy"), "-w", "-R", ".debug_[!f]*", "-R", ".rela.debug_*",
         panicked.vmlinux, target],
        check=True,
    )  # fmt: skip
    return target


def test_lldb_on_a_real_kernel(panicked: RealDump, slim: Path) -> None:
    """Threads with names, whole backtrace, symbols at run-time addresses, regions."""
    began = time.monotonic()
    with serve(panicked.dumps["elf"][0]) as server:
        text = lldb(
            server,
            "thread list",
            "bt",
            "x/s &linux_banner",
            "image list",
            "register read rip",
            "memory region 0x1000",
            "process plugin packet monitor info",
            file=slim,
        )
    names = lldb_frames(text.split("(lldb) bt")[1])
    path = iter(names)
    for wanted in ("panic", "sysrq_handle_crash", "write_sysrq_trigger", "vfs_write",
                   "do_syscall_64"):  # fmt: skip
        assert any(name == wanted for name in path), (wanted, text)
    for cpu, pid in enumerate(current_pids(panicked, 3)):
        assert f"name = 'CPU #{cpu} {f'pid {pid}' if pid else 'idle'}'" in text
    assert panicked.facts["version"][:40] in text
    start = int(panicked.facts["symbols"]["_stext"])
    assert f"{start:#018x}" in text or f"{start:#x}" in text
    assert re.search(r"^\[0x0000000000000000-0x[0-9a-f]{16}\) ---$", text, re.MULTILINE)
    assert re.search(rf"^release +{re.escape(panicked.release)}$", text, re.MULTILINE)
    assert time.monotonic() - began < 300  # alone, it takes 5 s


def test_extended_remote_on_a_real_kernel(panicked: RealDump) -> None:
    with serve(panicked.dumps["elf"][0]) as server:
        text = gdb(
            None,
            f"file {panicked.vmlinux}",
            f"target extended-remote localhost:{server.port}",
            "thread 3",
            "detach",
            "attach 1",
            "bt",
            "kill",
            "attach 1",
            "info threads",
        )
    assert "[Inferior 1 (process 1) killed]" in text.split("[Inferior 1 (process 1) detached]")[1]
    assert " in panic (" in text
    assert re.search(
        rf"^\* 1 +Thread 1\.1 \(CPU #0 pid {panicked.facts['crash_pid']}\)", text, re.M
    )


def test_info_os_and_handles_with_the_kernels_tasks(panicked: RealDump, tmp_path: Path) -> None:
    """A ps without any script, and threads found by their task_struct."""
    sidecar, load = tmp_path / "tasks.json", [f"file {panicked.vmlinux}"]
    with serve(panicked.dumps["elf"][0]) as server:
        script = next(line for line in server.printed if line.startswith("source "))
        gdb(server, script, f"kdump-save-kernel-json {sidecar}", before=load)
    with serve(panicked.dumps["elf"][0], "-k", str(sidecar)) as server:
        text = gdb(
            server,
            "info os",
            "info os processes",
            "info os threads",
            "python print('handle %x' % int.from_bytes(gdb.selected_thread().handle(), 'little'))",
            "python task = gdb.parse_and_eval('&init_task')",
            "python print('found', gdb.selected_inferior().thread_from_handle(task).ptid)",
            before=load,
            ugly=True,
        )
    spinner = panicked.facts["programs"]["spinner"]["pid"]
    shell = panicked.facts["crash_pid"]
    assert re.search(r"^processes +\w", text, re.MULTILINE)
    processes, threads = text.split(" tid ", 1)
    assert re.search(rf"^{spinner} +0 +spinner +2 ", processes, re.MULTILINE), text
    assert re.search(rf"^{shell} +0 +sh +0 ", processes, re.MULTILINE), text
    assert re.search(r"^2 +0 +\[kthreadd\] ", processes, re.MULTILINE), text
    assert re.search(rf"^{spinner} +spin-user +\d+ +2 ", threads, re.MULTILINE), text
    assert re.search(r"^handle f[0-9a-f]{15}$", text, re.MULTILINE), text
    assert re.search(r"^found \(1, \d+, 0\)$", text, re.MULTILINE), text
