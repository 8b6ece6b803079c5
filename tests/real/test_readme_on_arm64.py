"""The walk-throughs of the user's readme on arm64 dumps, typed in two gdbs: all three modes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import Server, debuggers, frames, gdb, serve

DUMPS = [("6.1", "panic"), ("6.12", "kdump")]  # by QEMU, and by a capture kernel
PANIC = ["panic", "sysrq_handle_crash", "__handle_sysrq"]
OUTERMOST = {"el0t_64_sync", "el0t_64_irq", "el0t_32_sync", "ret_from_fork", "__primary_switched"}
OUTERMOST |= {"__secondary_switched"}
# A CPU in user mode, whose program the kernel's symbols do not know; dead tasks and those of
# CPUs that were offline have no registers.
UNKNOWN = re.compile(r"^#0 +(0x0000\w+|<unavailable>) in \?\? \(\)", re.MULTILINE)
each_dump = pytest.mark.parametrize("wanted", DUMPS, ids=" ".join)
each_gdb = pytest.mark.parametrize("program", debuggers().values(), ids=debuggers())


def typed(dump: RealDump, server: Server) -> list[str]:
    """Return the printed lines that are commands, less the one that connects."""
    lines = [line for line in server.printed[2:] if not line.startswith(("#", "target "))]
    return [line.replace("<vmlinux>", str(dump.vmlinux)) for line in lines]


def assert_printed(dump: RealDump, server: Server) -> None:
    """The lines of the readme, letter for letter; comments may follow."""
    done = subprocess.run(["nm", dump.vmlinux], capture_output=True, text=True, check=True)
    linked = re.findall(r"^(\w+) \w _stext$", done.stdout, re.MULTILINE)
    offset = dump.facts["symbols"]["_stext"] - int(linked[0], 16)
    assert server.printed[:4] == [
        f"Waiting for incoming connection on localhost port {server.port}",
        "In gdb execute the following command(s) to connect:",
        f"file <vmlinux> -o {offset:#x}",
        f"target remote localhost:{server.port}",
    ]
    # Of both dumps, whose machines have pointer authentication.
    assert "# (before gdb 14: for any, as return addresses are signed here)" in server.printed


def crashed(dump: RealDump) -> str:
    return next(t["comm"] for t in dump.facts["tasks"] if t["tid"] == dump.facts["crash_pid"])


@each_dump
@each_gdb
def test_all_that_the_readme_types(wanted: tuple[str, str], program: str, tmp_path: Path) -> None:
    dump = get_dump(*wanted, "aarch64")
    form, pid = dump.dumps["elf"], dump.facts["programs"]["threads"]["pid"]
    crash_pid, tasks = dump.facts["crash_pid"], {t["tid"]: t for t in dump.facts["tasks"]}
    kernel_json, process_json = tmp_path / "kernel-tasks.json", tmp_path / f"process-{pid}.json"

    # Kernel mode.
    with serve(form) as server:
        assert_printed(dump, server)
        text = gdb(
            server, "bt", "info threads", "kdump-kernel-ps",
            f"kdump-save-kernel-json {kernel_json}",
            f"kdump-save-process-json {process_json} {pid}",
            before=typed(dump, server), program=program, ugly=True,
        )  # fmt: skip
    chain = frames(text)
    assert [name for name in chain if name in PANIC] == PANIC, text
    assert chain[-1] == "el0t_64_sync", text
    assert "corrupt stack" not in text
    rows = re.findall(r"^[* ] (\d+) +Thread 1\.\d+ \(CPU #(\d) (idle|pid \d+)\)", text, re.M)
    assert len(rows) == 3, text
    assert ("1", "0", f"pid {crash_pid}") in rows
    spinner = dump.facts["programs"]["spinner"]["spinner_tid"]
    assert ("2", f"pid {spinner}") in [row[1:] for row in rows]
    assert "UID        PID        PPID       LWP        COMM                      ADDRESS" in text
    listed = re.findall(r"^(\d+) +(\d+) +(\d+) +(\d+) +(\S.*?) +(0x\w+)$", text, re.M)
    for uid, tgid, ppid, tid, comm, _ in listed:
        task = tasks.get(int(tid))
        if task and not task["kernel"] and int(tid) != crash_pid:
            assert (int(uid), int(tgid), int(ppid), comm) == (
                task["uid"], task["tgid"], task["ppid"], task["comm"],
            )  # fmt: skip
    assert {t["tid"] for t in dump.facts["tasks"] if not t["kernel"]} - {
        int(row[3]) for row in listed
    } <= {dump.facts["shell_pid"]}

    # Kernel with tasks.
    with serve(form, "-k", str(kernel_json)) as server:
        assert_printed(dump, server)
        text = gdb(
            server, "info threads", "thread apply all bt",
            before=typed(dump, server), program=program, ugly=True,
        )  # fmt: skip
    table, *stacks = re.split(r"^Thread \d+ \(", text, flags=re.M)
    threads = re.findall(
        r"^[* ] (\d+) +Thread 1\.\d+ \(pid (\d+) LWP (\d+) \"(.*)\"\)", table, re.M
    )
    assert len(threads) == len(listed)
    assert threads[0][2] == str(crash_pid)
    assert threads[0][3] == crashed(dump)
    assert {(row[1], row[3], row[4]) for row in listed} == {
        (tgid, tid, comm) for _, tgid, tid, comm in threads
    }
    assert len(stacks) == len(threads)
    known = [stack for stack in stacks if not UNKNOWN.search(stack)]
    assert len(known) >= len(stacks) - 4
    ends = [frames(stack)[-1] for stack in known]
    assert set(ends) <= OUTERMOST, set(ends) - OUTERMOST
    assert not any("corrupt stack" in stack for stack in known), text

    # Process.
    base = dump.facts["programs"]["threads"]["maps"][0]["start"]
    with serve(form, "-j", str(process_json)) as server:
        assert server.printed == [
            f"Waiting for incoming connection on localhost port {server.port}",
            "In gdb execute the following command(s) to connect:",
            "# If you use PIE executable use the following command to correctly",
            "# load process symbols",
            f"file <executable> -o {base:#x}",
            f"target remote localhost:{server.port}",
        ]
        symbols = f"file {dump.programs['threads']}"
        for before in (f"{symbols} -o {base:#x}", symbols):
            text = gdb(
                server, "bt", "frame function main", "p *head", "p *head->next",
                before=[before, f"set sysroot {dump.sysroot}"], program=program, ugly=True,
            )  # fmt: skip
            assert "main" in frames(text)
            assert "$1 = {id = 100" in text
            assert "$2 = {id = 101" in text
