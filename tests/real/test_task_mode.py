"""Kernel with tasks on real dumps: the walk-through of the readme, typed command for command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import SECONDS, frames, gdb, serve

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"

# Where the stack of a sleeping task may end.
OUTERMOST = {
    "entry_SYSCALL_64",
    "entry_SYSCALL_64_after_hwframe",
    "entry_SYSCALL_compat",
    "entry_SYSCALL_compat_after_hwframe",
    "entry_SYSENTER_compat",
    "entry_SYSENTER_compat_after_hwframe",
    "entry_INT80_compat",
    "asm_int80_emulation",
    "asm_exc_page_fault",
    "asm_sysvec_apic_timer_interrupt",
    "ret_from_fork",
    "ret_from_fork_asm",
    "secondary_startup_64",
    "secondary_startup_64_no_verify",
    "user_mode",
}

_TASKS = """
import json, sys, drgn
from drgn.helpers.linux.pid import for_each_task
program = drgn.Program()
program.set_core_dump(sys.argv[1])
program.load_debug_info([sys.argv[2]])
out = []
for task in for_each_task(program):
    out.append({
        "pid": int(task.tgid), "tid": int(task.pid), "ppid": int(task.real_parent.tgid),
        "uid": int(task.real_cred.uid.val), "comm": task.comm.string_().decode(),
        "address": int(task), "kthread": bool(task.flags & 0x200000),
    })
json.dump(out, sys.stdout)
"""


class Saved:
    def __init__(
        self, dump: RealDump, sidecar: Path, printed: str, truth: list[dict[str, Any]]
    ) -> None:
        self.dump = dump
        self.sidecar = sidecar
        self.printed = printed
        self.truth = truth


@pytest.fixture(scope="session", params=["6.1", "6.12"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The tasks of a real panic, saved as a user would, and what gdb printed."""
    dump = get_dump(request.param, "panic")
    sidecar = tmp_path_factory.mktemp("sidecar") / "kernel-tasks.json"
    with serve(dump.dumps["elf"]) as server:
        text = gdb(
            server,
            f"source {SCRIPT}",
            "kdump-kernel-ps",
            f"kdump-save-kernel-json {sidecar}",
            before=[f"file {dump.vmlinux}"],
        )
    done = subprocess.run(
        [sys.executable, "-c", _TASKS, str(dump.dumps["elf"][0]), str(dump.vmlinux)],
        capture_output=True,
        text=True,
        check=True,
    )
    return Saved(dump, sidecar, text, json.loads(done.stdout))


def shown_name(task: dict[str, Any]) -> str:
    return f"[{task['comm']}]" if task["kthread"] else task["comm"]


def test_ps_lists_what_drgn_lists(saved: Saved) -> None:
    """Columns and values: UID PID PPID LWP COMM ADDRESS, every thread of every process."""
    lines = saved.printed.splitlines()
    header = "UID        PID        PPID       LWP        COMM                      ADDRESS"
    start = lines.index(header)
    rows = []
    for line in lines[start + 1 :]:
        if not re.match(r"\d+ +\d+ +\d+ ", line):
            break
        rows.append(
            (*(int(line[at : at + 11]) for at in (0, 11, 22, 33)), line[44:70].rstrip(), line[70:])
        )
    truth = [
        (t["uid"], t["pid"], t["ppid"], t["tid"], shown_name(t), f"{t['address']:#x}")
        for t in saved.truth
    ]
    idle = [row for row in rows if row[3] == 0]
    assert [row[4] for row in idle] == ["[swapper/0]", "[swapper/1]", "[swapper/2]"]
    assert sorted(row for row in rows if row[3]) == sorted(truth)


def test_result_line_counts_the_tasks(saved: Saved) -> None:
    count = len(saved.truth) + 3
    assert f"{count} tasks written to {saved.sidecar}" in saved.printed
    assert saved.sidecar.stat().st_mode & 0o777 == 0o600


def test_every_task_is_a_thread(saved: Saved) -> None:
    with serve(saved.dump.dumps["elf"], "-k", str(saved.sidecar)) as server:
        text = gdb(server, "info threads", before=[f"file {saved.dump.vmlinux}"], ugly=True)
    threads = re.findall(
        r'^([ *]) \d+ +Thread 1\.(\d+) \(pid (\d+) LWP (\d+) "(.*?)"\) ', text, re.MULTILINE
    )
    assert [int(number) for _, number, *_ in threads] == list(range(1, len(threads) + 1))
    shown = sorted((int(pid), int(tid), name) for _, _, pid, tid, name in threads if tid != "0")
    assert shown == sorted((t["pid"], t["tid"], shown_name(t)) for t in saved.truth)
    assert {name for *_, tid, name in threads if tid == "0"} == {
        "[swapper/0]",
        "[swapper/1]",
        "[swapper/2]",
    }
    current = [thread for thread in threads if thread[0] == "*"]
    assert current[0][1:] == ("1", *[str(saved.dump.facts["crash_pid"])] * 2, "sh")


def backtraces(saved: Saved, *commands: str) -> dict[str, str]:
    """Return each living task's backtrace by `pid P LWP T`, after the commands."""
    with serve(saved.dump.dumps["elf"], "-k", str(saved.sidecar)) as server:
        text = gdb(
            server,
            *commands,
            "thread apply all -ascending bt",
            before=[f"file {saved.dump.vmlinux}"],
            ugly=True,
        )
    for mark in ("corrupt stack", "Python Exception", "Traceback", "internal-error"):
        assert mark not in text, text
    parts = re.split(r"^Thread \d+ \(Thread 1\.\d+ \((.*)\)\):$", text, flags=re.MULTILINE)
    found = {
        f"{title} {number}": part
        for number, (title, part) in enumerate(zip(parts[1::2], parts[2::2], strict=True))
    }
    dead = tuple(f"pid {t['pid']} LWP {t['tid']} " for t in dead_tasks(saved))
    for title in [title for title in found if title.startswith(dead)]:
        assert "<unavailable> in ?? ()" in found.pop(title)
    assert len(found) == len(saved.truth) + 3 - len(dead)
    return found


def test_every_sleeping_task_unwinds_from_schedule_to_its_entry(saved: Saved) -> None:
    """And each that was running to the end of its stack, by way of its interrupt stack."""
    sleeping = 0
    for title, part in backtraces(saved, f"source {SCRIPT}").items():
        names = frames(part)
        assert "??" not in part, title + part
        assert "Backtrace stopped" not in part, title + part
        assert names[-1] in OUTERMOST, title + part
        if "__schedule" in names:
            sleeping += 1
            assert names[0] in ("context_switch", "__schedule"), title + part
    assert sleeping >= len(saved.truth) - len(dead_tasks(saved)) - 3


def test_without_the_script_no_task_shows_a_junk_frame(saved: Saved) -> None:
    """gdb alone ends where the interrupt stack does, that of the CPU stopped when idle."""
    stopped = 0
    for title, part in backtraces(saved).items():
        assert "??" not in part, title + part
        if "Backtrace stopped" in part:
            stopped += 1
            assert frames(part)[-1] == "sysvec_reboot", title + part
        else:
            assert frames(part)[-1] in OUTERMOST, title + part
    assert stopped <= 2


def dead_tasks(saved: Saved) -> list[dict[str, Any]]:
    tasks = saved.dump.facts["tasks"]
    return [
        {"pid": task["tgid"], "tid": task["tid"]} for task in tasks if task["state"] in ("Z", "X")
    ]


def test_switching_to_a_task_as_in_the_readme(saved: Saved) -> None:
    target = next(t for t in saved.truth if t["comm"] == "kthreadd")
    with serve(saved.dump.dumps["elf"], "-k", str(saved.sidecar)) as server:
        listing = gdb(server, "info threads", before=[f"file {saved.dump.vmlinux}"], ugly=True)
        match = re.search(rf"^ +(\d+) +Thread 1\.\d+ \(pid {target['tid']} LWP", listing, re.M)
        assert match is not None
        text = gdb(server, f"thread {match[1]}", "bt", before=[f"file {saved.dump.vmlinux}"])
    assert f"[Switching to thread {match[1]} (Thread 1.{match[1]})]" in text
    assert "kthreadd" in frames(text)


def test_a_sidecar_of_another_dump_is_refused(saved: Saved) -> None:
    other = get_dump("6.1", "kdump" if saved.dump.release.startswith("6.1.") else "panic")
    done = subprocess.run(
        [sys.executable, "-m", "kdump_gdbserver.cli.main", "-f", str(other.dumps["elf"][0])]
        + ["-k", str(saved.sidecar), "-p", "0"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(saved.sidecar) in done.stderr
