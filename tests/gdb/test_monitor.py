"""What gdb's own commands reach beyond registers and memory, on the sample dump."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.gdb_session import frames, gdb, serve

pytestmark = pytest.mark.usefixtures("each_debugger")

SAMPLE = Path(__file__).parent.parent / "sample"
VMCORE = SAMPLE / "toy-vmcore"
FACTS = json.loads((SAMPLE / "facts.json").read_text())
LOAD = [f"file {SAMPLE / 'toy-vmlinux'}"]
TEXT = int(FACTS["symbols"]["_stext"], 16)
EXCLUDED = FACTS["excluded"][0]
UNMAPPED = FACTS["unmapped"][0]["virtual"]


def test_monitor_help_and_an_unknown_command() -> None:
    with serve(VMCORE) as server:
        text = gdb(server, "monitor help", "monitor nonsense", "monitor", before=LOAD)
    for name in ("info", "dmesg", "vmcoreinfo", "vtop", "why", "phys", "mode", "log", "stats"):
        assert len(re.findall(rf"^  {name}\b", text, re.MULTILINE)) == 2, text
    assert "unknown command 'nonsense'; try 'monitor help'" in text


def test_monitor_info_and_vmcoreinfo() -> None:
    with serve(VMCORE) as server:
        text = gdb(server, "monitor info", "monitor vmcoreinfo", before=LOAD)
    for line in (
        rf"dump          {re.escape(str(VMCORE))}",
        r"release       6\.1\.0-toy",
        rf"build-id      {FACTS['build_id']}",
        r"KASLR offset  0x9200000",
        r"CPUs          2 with registers",
        r"crash time    2023-11-14 22:13:20 UTC",
        r"current       thread 1\.1 \(CPU #0 pid 386\), found by panic_cpu",
        r"OSRELEASE=6\.1\.0-toy",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), (line, text)


def test_vtop_leads_to_the_bytes_in_the_file() -> None:
    banner = int(FACTS["symbols"]["linux_banner"], 16)
    with serve(VMCORE) as server:
        text = gdb(server, f"monitor vtop {banner:#x}", before=LOAD)
    levels = re.findall(r"^(PGD|P4D|PUD|PMD|PTE) +at 0x[0-9a-f]+: 0x[0-9a-f]{16} \(present", text,
                        re.MULTILINE)  # fmt: skip
    assert levels[:2] == ["PGD", "PUD"]
    place = re.search(r"^file +(\S+) at (0x[0-9a-f]+) ", text, re.MULTILINE)
    assert place, text
    offset = int(place[2], 16)
    pointer = Path(place[1]).read_bytes()[offset : offset + 30]
    assert FACTS["linux_banner"].encode()[:30] == pointer


def test_what_gdb_has_to_work_out_is_put_in_by_eval() -> None:
    """gdb sends what stands behind `monitor` as it is; the error says what to type."""
    with serve(VMCORE) as server:
        text = gdb(server, "monitor vtop $pc", 'eval "monitor vtop %p", $pc', before=LOAD)
    told = re.search(r'^.\$pc. is no address; .*: (eval "monitor vtop %p", \$pc)$', text, re.M)
    assert told, text
    with serve(VMCORE) as server:
        stack = gdb(server, told[1], before=LOAD)
    for walk in (text, stack):
        assert re.search(r"^virtual +0xffff[0-9a-f]{12}$", walk, re.MULTILINE), walk
        assert re.search(r"^physical +0x", walk, re.MULTILINE), walk


def test_addresses_as_gdb_prints_them_in_any_base() -> None:
    banner = int(FACTS["symbols"]["linux_banner"], 16)
    with serve(VMCORE) as server:
        text = gdb(
            server,
            f"monitor vtop {banner}",
            f"monitor vtop {banner:x}",
            "monitor why &linux_banner",
            'eval "monitor why %p", &linux_banner',
            'eval "monitor why %p", (unsigned long)&linux_banner',
            before=LOAD,
        )
    assert text.count(f"virtual   {banner:#x}\n") == 2, text
    assert text.count(f"{banner:#x} can be read\n") == 2, text
    assert 'or let gdb work it out: eval "monitor why %p", &linux_banner' in text


def test_monitor_why_tells_reasons_apart() -> None:
    with serve(VMCORE) as server:
        text = gdb(
            server,
            f"monitor why {UNMAPPED}",
            f"monitor why {EXCLUDED['virtual']}",
            f"monitor why {TEXT:#x}",
            before=LOAD,
        )
    assert f"{UNMAPPED} cannot be read: address is not mapped" in text
    assert f"{EXCLUDED['virtual']} cannot be read: page is not in the dump" in text
    assert f"at physical address {EXCLUDED['physical']}" in text
    assert f"{TEXT:#x} can be read" in text


def test_physical_addresses_by_monitor_and_by_qemus_packet() -> None:
    """The same 16 bytes by virtual address, by both switches, and by `monitor phys`."""
    with serve(VMCORE) as server:
        found = gdb(server, f"monitor vtop {TEXT:#x}", before=LOAD)
        physical = re.search(r"^physical  (0x[0-9a-f]+),", found, re.MULTILINE)
        assert physical, found
        text = gdb(
            server,
            f"x/2gx {TEXT:#x}",
            f"monitor phys {physical[1]} 16",
            "monitor mode physical",
            f"x/2gx {physical[1]}",
            "monitor mode virtual",
            f"x/2gx {TEXT:#x}",
            "maint packet Qqemu.PhyMemMode:1",
            f"x/2gx {physical[1]}",
            "maint packet qqemu.PhyMemMode",
            before=LOAD,
        )
    words = re.findall(r"^0x[0-9a-f]+.*:\t(0x[0-9a-f]{16}\t0x[0-9a-f]{16})$", text, re.MULTILINE)
    assert len(words) == 4
    assert len(set(words)) == 1
    raw = b"".join(int(word, 16).to_bytes(8, "little") for word in words[0].split())
    assert raw.hex(" ") in text
    assert 'received: "1"' in text


def test_find_runs_on_the_server() -> None:
    """Across the hole behind the kernel's memory, which gdb alone would stop at."""
    pattern = ", ".join(f"{byte:#x}" for byte in b"sysrq")
    with serve(VMCORE) as server:
        text = gdb(
            server,
            f"find /b {TEXT:#x}, +0x10000000, {pattern}",
            f"find /b {UNMAPPED}, +0x1000, 1, 2, 3",
            before=LOAD,
        )
        sent = gdb(server, "set debug remote 1", f"find /b {TEXT:#x}, +0x10000000, {pattern}",
                   before=LOAD)  # fmt: skip
    assert re.search(r"^[2-9]\d* patterns found\.$", text, re.MULTILINE), text
    assert "Pattern not found." in text
    assert "Sending packet: $qSearch:memory:" in sent
    assert "Sending packet: $m" not in sent.split("$qSearch", 1)[1]


def test_compare_sections_asks_for_checksums() -> None:
    """By load addresses as the file has them; where KASLR moved no pointer, all is equal."""
    with serve(VMCORE) as server:
        text = gdb(server, "compare-sections", before=LOAD, ugly=True)
    assert re.search(r"^Section \.notes, range 0x[0-9a-f]+ -- 0x[0-9a-f]+: matched\.$", text, re.M)
    assert re.search(r"^Section \.text, range 0x1000000 -- .*: MIS-MATCHED!$", text, re.MULTILINE)
    assert "target memory fault" not in text


def test_info_os() -> None:
    with serve(VMCORE) as server:
        text = gdb(server, "info os", "info os cpus", "info os nothing", before=LOAD)
    assert re.search(r"^cpus +CPUs with registers", text, re.MULTILINE), text
    assert re.search(r"^0 +386 *$", text, re.MULTILINE), text
    assert re.search(r"^1 +0 *$", text, re.MULTILINE), text


def test_statistics_and_log() -> None:
    with serve(VMCORE) as server:
        text = gdb(server, "monitor log on", "x/gx $sp", "monitor log off", "monitor stats",
                   before=LOAD)  # fmt: skip
        server.process.terminate()
        assert server.process.stderr is not None
        logged = server.process.stderr.read()
    assert re.search(r"^packets received: [1-9]", text, re.MULTILINE)
    assert re.search(r"^time to answer in microseconds: p50 \d", text, re.MULTILINE)
    assert re.search("request=[mx]", re.sub(r"\x1b\[[0-9;]*m", "", logged)), logged
    assert "qSupported" not in logged


def test_extended_remote_leaves_and_comes_back() -> None:
    """Detach and kill leave the connection; attach gives the state as it was at first."""
    with serve(VMCORE) as server:
        text = gdb(
            None,
            *LOAD,
            f"target extended-remote localhost:{server.port}",
            "thread 2",
            "detach",
            "info threads",
            "attach 1",
            "bt",
            "kill",
            "attach 7",
            "attach 1",
            "info threads",
        )
    assert text.count("No threads.") == 1
    assert "[Inferior 1 (process 1) detached]" in text
    assert "[Inferior 1 (process 1) killed]" in text
    assert "Attaching to process 7 failed" in text
    assert frames(text.split("detached]")[1])[0] == "crash_setup_regs"
    assert re.search(r"^\* 1    Thread 1\.1 \(CPU #0 pid 386\)", text, re.MULTILINE)


def test_programs_are_not_run_and_the_session_goes_on() -> None:
    with serve(VMCORE) as server:
        text = gdb(
            None,
            *LOAD,
            f"target extended-remote localhost:{server.port}",
            "kill",
            "run",
            "attach 1",
            "bt 1",
        )
    assert "failed" in text or "a crash dump cannot run programs" in text
    assert frames(text)[-1] == "crash_setup_regs"
