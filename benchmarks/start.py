"""How long the program takes to start, and how much memory it takes."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contents import Content, real_folder, real_vmlinux
from benchmarks.memory import OURS, THEIRS
from benchmarks.programs import BUILD, BenchError, client, gdb, gdbserver, our_server
from benchmarks.report import Report
from benchmarks.tasks import write_real_tasks, write_tasks

_MANY = 10_000
_PLACES = {"one CPU": 0, "any CPUs": None}
_TIMED_TARGET = """\
import time
_start = time.perf_counter()
gdb.execute("target remote localhost:{port}", to_string=True)
_threads = gdb.execute("info threads", to_string=True)
print("seconds", time.perf_counter() - _start, "threads", len(_threads.splitlines()) - 1)
"""


def start(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """Start to listening, `--help`, and peak memory after everything was read once."""
    section = "start and memory"
    for _ in range(rounds):
        for content in {content.dump: content for content in contents}.values():
            name = "real dump" if content.name.startswith("real") else "synthetic dump"
            began = time.perf_counter()
            with our_server(content.dump, settled=False) as server:
                seconds = time.perf_counter() - began
                report.row(section, f"start to listening, {name}", "s", "< 0.25").add(OURS, seconds)
                report.row(section, f"peak memory, {name}, listening", "MiB").add(
                    OURS, server.peak_mib
                )
                for span in content.ours:
                    client(server, "m", hex(span.start), str(span.length))
                row = report.row(section, f"peak memory, {name}, 64 MiB read", "MiB")
                row.add(OURS, server.peak_mib)
                with gdbserver([content.part]) as other:
                    for span in content.theirs:
                        client(other, "m", hex(span.start), str(span.length))
                    row.add(THEIRS, other.peak_mib)
        began = time.perf_counter()
        command = [sys.executable, "-m", "kdump_gdbserver.cli.main", "--help"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        report.row(section, "--help", "s", "< 0.1").add(OURS, time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        report.row(section, "--help", "s").add("python -c pass", time.perf_counter() - began)
    report.print(section)


def threads(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """Attach and `info threads` with many tasks: seconds in gdb, CPU time of the server.

    On one CPU, as then no time goes by in waiting for the next packet that counts as work.
    """
    cases: list[_Case] = []
    dump = next(content.dump for content in contents if content.name == "random")
    for count in (1000, _MANY):
        cases.append(_Case(f"{count}", dump, BUILD / f"tasks-{count}.json", count))
        write_tasks(cases[-1].sidecar, count)
    folder = real_folder()
    if folder is not None:
        vmlinux = real_vmlinux(folder)
        real, sidecar = folder / "dumps" / "elf", BUILD / "tasks-many-real.json"
        with our_server(real) as server:
            write_real_tasks(sidecar, _MANY, server.port, vmlinux)
        cases.append(_Case(f"{_MANY} with vmlinux", real, sidecar, _MANY, vmlinux))
    for case, (place, cpu) in itertools.product(cases, _PLACES.items()):
        for _ in range(rounds):
            _list_threads(report, case, place, cpu)
    report.print("tasks as threads")


@dataclass(frozen=True)
class _Case:
    """So many tasks in a dump."""

    name: str
    dump: Path
    sidecar: Path
    count: int
    vmlinux: Path | None = None


def _list_threads(report: Report, case: _Case, place: str, cpu: int | None) -> None:
    section, script = "tasks as threads", BUILD / "timed-target.py"
    symbols = [f"file {case.vmlinux}"] if case.vmlinux else []
    with our_server(case.dump, "-k", str(case.sidecar), cpu=cpu) as server:
        before = server.cpu_seconds
        script.write_text(_TIMED_TARGET.format(port=server.port))
        printed = gdb(None, *symbols, f"source {script}", cpu=cpu)
        used = server.cpu_seconds - before
    match = re.search(r"^seconds ([0-9.]+) threads ([0-9]+)", printed, re.MULTILINE)
    if match is None or int(match[2]) < case.count:
        raise BenchError(f"gdb did not list {case.count} threads: {printed.strip()[-300:]}")
    if cpu is not None:
        goal = "< 100 ms" if case.count == _MANY else ""
        row = report.row(section, f"{case.name}: server's CPU time", "ms", goal)
        row.add(OURS, used * 1e3)
    seconds = report.row(section, f"{case.name}: of gdb's time, {place}", "ms")
    seconds.add(OURS, float(match[1]) * 1e3)
