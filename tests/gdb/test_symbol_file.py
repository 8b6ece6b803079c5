"""kdump-symbol-file: the kernel moved by KASLR, per-CPU variables where they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.gdb_session import Server, frames, gdb, serve

SAMPLE = Path(__file__).parent.parent / "sample"
VMCORE, VMLINUX = SAMPLE / "toy-vmcore", SAMPLE / "toy-vmlinux"
FACTS = json.loads((SAMPLE / "facts.json").read_text())
SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"
LOAD = [f"file {VMLINUX}"]
SHOW = ["p &linux_banner", "info address current_task", "bt"]


def script_of(server: Server) -> str:
    return next(line for line in server.printed if line.startswith("source "))


def assert_in_place(text: str) -> None:
    assert FACTS["symbols"]["linux_banner"] in text
    place = re.search(r'^Symbol "current_task" is .* address (0x[0-9a-f]+)', text, re.MULTILINE)
    assert place, text
    assert int(place[1], 16) < 0x10000, text  # an offset in the per-CPU area
    assert frames(text)[0] == "crash_setup_regs"


def test_per_cpu_variables_stay_where_they_are() -> None:
    with serve(VMCORE) as server:
        moved = gdb(server, SHOW[1], before=LOAD)
        text = gdb(server, script_of(server), "kdump-symbol-file", *SHOW, before=LOAD)
    assert re.search(r"address 0x92\d+", moved), moved  # what gdb does by itself
    assert "moved by 0x9200000 (.data..percpu not moved)" in text
    assert_in_place(text)


def test_the_file_may_be_named_and_loaded_twice() -> None:
    with serve(VMCORE) as server:
        text = gdb(
            server,
            script_of(server),
            f"kdump-symbol-file {VMLINUX}",
            f"kdump-symbol-file {VMLINUX}",
            *SHOW,
            "python print('files', [o.filename for o in gdb.objfiles()].count"
            f"('{VMLINUX.resolve()}'))",
            ugly=True,  # no file is loaded at first
        )
    assert_in_place(text)
    assert "files 1" in text


def test_what_cannot_be_done_is_one_clear_line(tmp_path: Path) -> None:
    damaged = tmp_path / "vmlinux"
    damaged.write_bytes(VMLINUX.read_bytes()[:5000])
    with serve(VMCORE) as server:
        text = gdb(
            None,
            script_of(server),
            "kdump-symbol-file",
            "kdump-symbol-file a b",
            "kdump-symbol-file /nonexistent",
            f"kdump-symbol-file {__file__}",
            f"kdump-symbol-file {damaged}",
            f"kdump-symbol-file {VMLINUX}",
        )
    assert text.splitlines() == [
        "usage: kdump-symbol-file VMLINUX (no file is loaded yet)",
        "usage: kdump-symbol-file [VMLINUX]",
        "/nonexistent: No such file or directory; name the dumped kernel's vmlinux",
        f"{__file__} is no ELF file; name the dumped kernel's vmlinux",
        f"{damaged}: damaged ELF file; name the dumped kernel's vmlinux",
        f"symbols of {VMLINUX} loaded; 'target remote' puts them where the kernel was",
    ]


def test_before_connecting_it_loads_and_on_connecting_it_puts_right() -> None:
    with serve(VMCORE) as server:
        text = gdb(
            server, *SHOW, before=[script_of(server), f"kdump-symbol-file {VMLINUX}", *SHOW[:1]]
        )
    before, _, after = text.partition("moved by 0x9200000 (.data..percpu not moved)")
    assert "'target remote' puts them where the kernel was" in before
    assert FACTS["symbols"]["linux_banner"] not in before
    assert_in_place(after)


def test_a_file_loaded_before_connecting_may_be_replaced() -> None:
    with serve(VMCORE) as server:
        script = script_of(server)
        plain = gdb(server, *SHOW[:1], before=LOAD)
        text = gdb(
            server,
            *SHOW[:1],
            before=[script, f"kdump-symbol-file {VMLINUX}", "symbol-file", f"exec-file {VMLINUX}"],
            ugly=True,  # no symbols
        )
    assert FACTS["symbols"]["linux_banner"] in plain
    assert "moved by" not in text


def test_another_kernel_is_warned_about(tmp_path: Path) -> None:
    other = tmp_path / "vmlinux"
    build_id = bytes.fromhex(FACTS["build_id"])
    content = VMLINUX.read_bytes()
    assert content.count(build_id) == 1
    other.write_bytes(content.replace(build_id, build_id[::-1]))
    with serve(VMCORE) as server:
        sound = gdb(server, script_of(server), f"kdump-symbol-file {VMLINUX}", before=LOAD)
        text = gdb(server, script_of(server), f"kdump-symbol-file {other}", before=LOAD, ugly=True)
    assert "is not the dumped kernel" not in sound
    assert (
        f"warning: {other} is not the dumped kernel: its build-id is {build_id[::-1].hex()}, the"
        f" dump's {build_id.hex()}; names and backtraces will be wrong"
    ) in text.splitlines()


def test_where_a_process_is_shown_the_commands_say_so(tmp_path: Path) -> None:
    """Nothing is loaded at the kernel's offset, which the executable was not moved by."""
    process = FACTS["processes"][0]
    registers = {"rip": int(process["user_rip"], 16), "rsp": int(process["user_rsp"], 16)}
    thread = {"pid": 1, "tid": 1, "comm": "sh", "registers": registers}
    sidecar = tmp_path / "process.json"
    root = int(process["page_table_root_physical"], 16)
    sidecar.write_text(json.dumps({"rootpgt": root, "loadaddr": 0, "threads": [thread]}))
    commands = ["kdump-kernel-ps", "kdump-save-kernel-json x", "kdump-save-process-json x 1"]
    with serve(VMCORE, "-j", str(sidecar)) as server:
        text = gdb(
            server,
            f"source {SCRIPT}",
            *commands,
            f"kdump-symbol-file {VMLINUX}",
            before=LOAD,
            ugly=True,  # the file is not the process's
        )
    told = "the server shows a process, this is for the kernel: start it without -j"
    assert text.splitlines().count(told) == 4, text


def test_the_server_suggests_it() -> None:
    with serve(VMCORE, "-v", str(VMLINUX)) as server:
        assert server.process.stdout is not None
        rest = [server.process.stdout.readline().rstrip("\n") for _ in range(3)]
    assert rest[-1] == f"# kdump-symbol-file {VMLINUX}"
