"""The kernel's own gdb scripts, unchanged, on real dumps."""

from __future__ import annotations

import re

import pytest

from tests.real.harness import HarnessError, RealDump
from tests.real.harness.kernel_scripts import kernel_scripts
from tests.support.gdb_session import gdb, missing, serve

_LINE = re.compile(r"^\[ *(\d+\.\d{6})\] (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def printed(panicked: RealDump) -> dict[str, str]:
    """What each command prints, by the command."""
    series = re.match(r"\d+\.\d+", panicked.release)
    assert series
    try:
        scripts = kernel_scripts(series[0], panicked.release)
    except HarnessError as error:
        missing(f"no scripts/gdb of {panicked.release}: {error}")
    queue = '"runqueues"' if series[0] == "6.1" else "runqueues"  # its scripts want a string
    commands = [
        "lx-version",
        "lx-cmdline",
        "lx-cpus",
        "lx-lsmod",
        "lx-mounts",
        "lx-ps",
        "lx-dmesg",
        "p $lx_current().pid",
        "p $lx_current(2).comm",
        "p $lx_thread_info($lx_current(2)).cpu",
        f"p $lx_per_cpu({queue}, 2).cpu",
        f"p $lx_per_cpu({queue}, 2).curr->comm",
        "p $lx_task_by_pid(1).comm",
    ]
    if series[0] != "6.1":  # its lx-timerlist knows an older timerqueue (fixed in 6.5)
        commands.append("lx-timerlist")
    with serve(panicked.dumps["elf"][0]) as server:
        script = next(line for line in server.printed if line.startswith("source "))
        steps: list[str] = []
        for command in commands:
            steps += [f"echo ==={command}===\\n", command]
        text = gdb(
            server,
            script,
            f"kdump-symbol-file {panicked.vmlinux}",
            f"source {scripts / 'vmlinux-gdb.py'}",
            *steps,
            before=[f"file {panicked.vmlinux}"],
        )
    parts = re.split(r"^===(.*)===\n", text, flags=re.MULTILINE)
    return {
        command.replace('"', ""): output
        for command, output in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_version_and_command_line(panicked: RealDump, printed: dict[str, str]) -> None:
    assert printed["lx-version"].startswith(panicked.facts["version"][:60])
    assert printed["lx-cmdline"].strip() == panicked.facts["cmdline"].strip()


def test_cpus(printed: dict[str, str]) -> None:
    assert re.search(r"^Possible CPUs : \[0, 1, 2\]$", printed["lx-cpus"], re.MULTILINE)
    assert re.search(r"^Online CPUs   : \[0\]$", printed["lx-cpus"], re.MULTILINE)


def test_modules(panicked: RealDump, printed: dict[str, str]) -> None:
    found = dict(re.findall(r"^0x([0-9a-f]+) (\w+) ", printed["lx-lsmod"], re.MULTILINE))
    for name, module in panicked.facts["modules"].items():
        assert found[f"{module['address']:x}"] == name


def test_mounts(printed: dict[str, str]) -> None:
    assert re.search(r"^0x\w+ 0x\w+ proc /proc proc rw", printed["lx-mounts"], re.MULTILINE)
    assert re.search(r"^0x\w+ 0x\w+ sysfs /sys sysfs rw", printed["lx-mounts"], re.MULTILINE)


def test_tasks(panicked: RealDump, printed: dict[str, str]) -> None:
    found = {int(pid) for pid in re.findall(r"^0x\w+\s+(\d+)\s", printed["lx-ps"], re.MULTILINE)}
    users = {task["tid"] for task in panicked.facts["tasks"] if not task["kernel"]}
    assert len(users) > 10
    assert len(users & found) >= len(users) - 2  # the reporter itself has ended since
    assert 0 in found


def test_log(panicked: RealDump, printed: dict[str, str]) -> None:
    """The kernel's script and `monitor dmesg` print the same."""
    with serve(panicked.dumps["elf"][0]) as server:
        ours = gdb(server, "monitor dmesg", before=[f"file {panicked.vmlinux}"])
    theirs = _LINE.findall(printed["lx-dmesg"])
    assert len(theirs) > 100
    mine = _LINE.findall(ours)
    assert [text.rstrip() for _, text in mine] == [text.rstrip() for _, text in theirs]
    for (my_time, _), (their_time, _) in zip(mine, theirs, strict=True):
        assert abs(float(my_time) - float(their_time)) < 2e-6  # the script rounds, dmesg cuts


def test_per_cpu_variables(panicked: RealDump, printed: dict[str, str]) -> None:
    assert printed["p $lx_current().pid"].strip().endswith(f"= {panicked.facts['crash_pid']}")
    assert '"spin-user' in printed["p $lx_current(2).comm"]
    assert printed["p $lx_per_cpu(runqueues, 2).cpu"].strip().endswith("= 2")
    assert '"spin-user' in printed["p $lx_per_cpu(runqueues, 2).curr->comm"]
    assert '"init' in printed["p $lx_task_by_pid(1).comm"]
    assert printed["p $lx_thread_info($lx_current(2)).cpu"].strip().endswith("= 2")


def test_timers(printed: dict[str, str]) -> None:
    if "lx-timerlist" not in printed:
        pytest.skip("this kernel's own lx-timerlist is broken (fixed in 6.5)")
    assert re.findall(r"^cpu: (\d)$", printed["lx-timerlist"], re.MULTILINE)[0] == "0"
    assert "tick_nohz_handler" in printed["lx-timerlist"]
    assert "hrtimer_wakeup" in printed["lx-timerlist"]
