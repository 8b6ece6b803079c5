"""A real gdb on the sample dump in the repository."""

from __future__ import annotations

import json
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from kdump_gdbserver.cli.console import gdb_word
from tests.support.gdb_session import SECONDS, frames, gdb, serve

SAMPLE = Path(__file__).parent.parent / "sample"
VMCORE = SAMPLE / "toy-vmcore"
VMLINUX = SAMPLE / "toy-vmlinux"
FACTS = json.loads((SAMPLE / "facts.json").read_text())
SERVER = (sys.executable, "-m", "kdump_gdbserver.cli.main")
LOAD = [f"file {VMLINUX}"]


def test_info_threads_as_the_readme_shows_it() -> None:
    with serve(VMCORE) as server:
        text = gdb(server, "info threads", before=LOAD)
    assert re.search(r"^  Id   Target Id                   Frame $", text, re.MULTILINE)
    assert re.search(r"^\* 1    Thread 1\.1 \(CPU #0 pid 386\) .*crash_setup_regs", text, re.M)
    assert re.search(r"^  2    Thread 1\.2 \(CPU #1 idle\)    mwait_idle", text, re.M)


def test_backtraces_are_whole() -> None:
    with serve(VMCORE) as server:
        first = gdb(server, "bt", before=LOAD)
        second = gdb(server, "thread 2", "bt", before=LOAD)
    assert 'panic (fmt=fmt@entry=0xffffffff8a201158 "sysrq triggered crash\\n")' in first
    assert frames(first)[0] == "crash_setup_regs"
    assert frames(first)[-1] == "entry_SYSCALL_64"
    assert "[Switching to thread 2 (Thread 1.2)]" in second
    assert frames(second)[-1] == "secondary_startup_64_no_verify"


def test_printed_lines_letter_for_letter() -> None:
    with serve(VMCORE) as server:
        assert server.printed[:4] == [
            f"Waiting for incoming connection on localhost port {server.port}",
            "In gdb execute the following command(s) to connect:",
            "file <vmlinux> -o 0x9200000",
            f"target remote localhost:{server.port}",
        ]
        assert re.fullmatch(r"source /.*/KdumpGdbCommands\.py", server.printed[-1])


def test_the_printed_commands_work_whatever_the_path(tmp_path: Path) -> None:
    vmlinux = tmp_path / 'my "vm\\linux" isn\'t' / "vmlinux"
    vmlinux.parent.mkdir()
    vmlinux.symlink_to(VMLINUX)
    with serve(VMCORE, "-v", str(vmlinux)) as server:
        load, _connect, *more = (line for line in server.printed[2:] if line[0] != "#")
        again = f"kdump-symbol-file {gdb_word(str(vmlinux))}"
        text = gdb(server, *more, again, "bt 1", before=[load])
    assert "loaded, moved by 0x9200000" in text
    assert frames(text)[-1] == "crash_setup_regs"


def test_both_ways_to_load_symbols_give_one_address() -> None:
    with serve(VMCORE) as server:
        relocated = gdb(server, "p &linux_banner", before=[f"file {VMLINUX} -o 0x9200000"])
        by_itself = gdb(server, "p &linux_banner", before=LOAD)
    assert FACTS["symbols"]["linux_banner"] in relocated
    assert FACTS["symbols"]["linux_banner"] in by_itself


def test_registers_known_and_unknown() -> None:
    values = FACTS["threads"][0]["registers"]
    with serve(VMCORE) as server:
        text = gdb(
            server,
            "info registers rip rsp rbx eflags cs",
            "p/x $fs_base",
            "p/x $orig_rax",
            "info registers st0",
            before=LOAD,
        )
    for name in ("rip", "rsp", "rbx"):
        assert re.search(rf"^{name} +{values[name]} ", text, re.MULTILINE), (name, text)
    assert values["fs_base"] in text
    assert re.search(r"^st0 +<unavailable>", text, re.MULTILINE)


def test_without_symbols_memory_and_registers_still_show() -> None:
    """No `file` at all: the target description alone tells gdb what it is looking at."""
    banner = FACTS["symbols"]["linux_banner"]
    with serve(VMCORE) as server:
        text = gdb(server, f"x/s {banner}", "info threads", "p $pc", ugly=True)
    assert FACTS["linux_banner"][:30] in text
    assert "Thread 1.2 (CPU #1 idle)" in text


def test_unreadable_memory_is_an_error_never_zeros() -> None:
    places = [*FACTS["unmapped"], *FACTS["excluded"], FACTS["zero_tail"]]
    flat = [place["virtual"] for place in places]
    assert len(flat) >= 5
    with serve(VMCORE) as server:
        text = gdb(server, *(f"x/gx {address}" for address in flat), before=LOAD)
    assert text.count("Cannot access memory at address") == len(flat), text


def test_gcore_of_the_kernel_is_refused_and_does_not_end_gdb(tmp_path: Path) -> None:
    """gdb would save next to nothing; 13 to 18 abort by themselves without SSE registers."""
    core = tmp_path / "core"
    commands = (f"generate-core-file {core}", "p $xmm0", "p 6 * 7")
    with serve(VMCORE) as server:
        text = gdb(server, *commands, before=LOAD, ugly=True)
        server.process.terminate()
        assert server.process.stderr is not None
        logged = server.process.stderr.read()
    assert "Read returned 1, but 0 bytes." in text
    assert "Saved corefile" not in text
    assert not core.exists()
    assert logged.count("gcore is for processes (-j)") == 1
    assert "$1 = <unavailable>" in text
    assert "$2 = 42" in text


def test_the_signal_that_was_waiting_for_a_thread(tmp_path: Path) -> None:
    process = FACTS["processes"][0]
    registers = {"rip": int(process["user_rip"], 16), "rsp": int(process["user_rsp"], 16)}
    fault = struct.pack("<iiiiQ104x", 11, 0, 1, 0, 0xDEAD000)  # SIGSEGV, SEGV_MAPERR
    threads = [
        {"pid": 1, "tid": tid, "comm": "init", "registers": registers, **more}
        for tid, more in ((1, {}), (2, {"siginfo": {"si_signo": 11, "bytes": fault.hex()}}))
    ]
    sidecar = tmp_path / "process.json"
    content = {
        "format": "kdump-gdbserver process",
        "version": 1,
        "dump": {"arch": "x86_64"},
        "pid": 1,
        "rootpgt": int(process["page_table_root_physical"], 16),
        "loadaddr": 0,
        "threads": threads,
    }
    sidecar.write_text(json.dumps(content))
    core = tmp_path / "core"
    show = ("p $_siginfo.si_signo", "p $_siginfo._sifields._sigfault.si_addr")
    with serve(VMCORE, "-j", str(sidecar)) as server:
        text = gdb(server, "p $_siginfo", "thread 2", *show, f"gcore {core}", ugly=True)
    assert "Unable to read siginfo" in text  # thread 1 has none
    assert "$1 = 11" in text
    assert "$2 = (void *) 0xdead000" in text
    saved = gdb(None, f"core-file {core}", "thread 2", *show, ugly=True)
    assert "$2 = (void *) 0xdead000" in saved


def test_clients_come_and_go() -> None:
    """Detach, kill and a plain exit each leave the server serving."""
    with serve(VMCORE) as server:
        for leave in ("detach", "kill", "quit"):
            assert "crash_setup_regs" in gdb(server, "bt 1", leave, before=LOAD)
        assert "crash_setup_regs" in gdb(server, "bt 1", before=LOAD)


def test_extended_remote() -> None:
    with serve(VMCORE) as server:
        text = gdb(
            None,
            f"file {VMLINUX}",
            f"target extended-remote localhost:{server.port}",
            "bt 1",
            "info threads",
        )
    assert "Thread 1.2 (CPU #1 idle)" in text


def test_once_ends_the_server_with_its_client() -> None:
    with serve(VMCORE, "--once") as server:
        gdb(server, "bt 1", before=LOAD)
        assert server.process.wait(SECONDS) == 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(ending: signal.Signals) -> None:
    with serve(VMCORE) as server:
        server.process.send_signal(ending)
        assert server.process.wait(SECONDS) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_every_exchange_is_logged_as_json() -> None:
    with serve(VMCORE, "-d", "--log-json") as server:
        gdb(server, "bt 1", before=LOAD)
        server.process.terminate()
        assert server.process.stderr is not None
        lines = [json.loads(line) for line in server.process.stderr.read().splitlines()]
    exchanges = [line for line in lines if line["event"] == "rsp"]
    assert any(line["request"].startswith("qSupported:") for line in exchanges)
    assert any(line["request"] == "g" and line["reply_bytes"] > 100 for line in exchanges)
    assert all(line["microseconds"] >= 0 and line["client"] for line in exchanges)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "/nonexistent"], ["/nonexistent", "no such file"]),
        (["-f", str(VMLINUX)], ["toy-vmlinux"]),
        (["-f", __file__], ["test_sample.py"]),
        (["-f", "/"], ["directory"]),
        (["-f", "/dev/null"], ["/dev/null"]),
        (["-f", str(VMCORE), "--arch", "vax"], ["vax", "x86_64"]),
        (["-f", str(VMCORE), "-v", "/nonexistent"], ["/nonexistent"]),
        (["-f", str(VMCORE), "-v", __file__], ["test_sample.py", "ELF"]),
        (["-f", str(VMCORE), "--vmcoreinfo", "/nonexistent"], ["/nonexistent"]),
        (["-f", str(VMCORE), "--vmcoreinfo", "/etc/shells"], ["/etc/shells", "KEY=VALUE"]),
        (["-f", str(VMCORE), "-k", "a", "-j", "b"], ["-k", "-j"]),
        (["-f", str(VMCORE), "--sysroot", "/"], ["--sysroot", "-j"]),
        (["-f", str(VMCORE), "--stdio", "--unix", "a"], ["--stdio", "--unix"]),
        (["-f", str(VMCORE), "stray"], ["stray", "--help"]),
        (["-f", ""], ["-f", "empty"]),
        (["-f", str(VMCORE), "--libkdumpfile", "/nonexistent"], ["/nonexistent"]),
        (["-f", str(VMCORE), "-a", "203.0.113.1"], ["203.0.113.1"]),
        (["-f", str(VMCORE), "-p", "70000"], ["70000"]),
        ([], ["-f"]),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(arguments: list[str], words: list[str]) -> None:
    done = subprocess.run(
        [*SERVER, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"kdump-gdbserver: error: .*\n", done.stderr), done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stdout == ""


def test_port_in_use_is_one_clear_line() -> None:
    with serve(VMCORE) as server:
        done = subprocess.run(
            [*SERVER, "-f", str(VMCORE), "-p", str(server.port)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 2
    assert str(server.port) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wrong_vmlinux_is_warned_about() -> None:
    done = subprocess.Popen(
        [*SERVER, "-f", str(VMCORE), "-v", str(Path("/bin/sh").resolve()), "-p", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert done.stderr is not None
        line = done.stderr.readline()
        assert "is not the dumped kernel" in line
        assert FACTS["build_id"] in line
    finally:
        done.terminate()
        done.communicate(timeout=SECONDS)
