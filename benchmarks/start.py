"""How long the program takes to start, and how much memory it takes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.contents import Content
from benchmarks.memory import OURS, THEIRS
from benchmarks.programs import BUILD, BenchError, client, gdb, gdbserver, our_server
from benchmarks.report import Report
from benchmarks.tasks import write_tasks

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
    """Attach and `info threads` with many tasks: seconds in gdb, CPU time of the server."""
    section = "tasks as threads"
    dump = next(content.dump for content in contents if content.name == "random")
    for _ in range(rounds):
        for count in (1000, 5000, 10_000):
            sidecar = BUILD / f"tasks-{count}.json"
            write_tasks(sidecar, count)
            script = BUILD / "timed-target.py"
            with our_server(dump, "-k", str(sidecar)) as server:
                before = server.cpu_seconds
                script.write_text(_TIMED_TARGET.format(port=server.port))
                printed = gdb(None, f"source {script}")
                used = server.cpu_seconds - before
            match = re.search(r"^seconds ([0-9.]+) threads ([0-9]+)", printed, re.MULTILINE)
            if match is None or int(match[2]) < count:
                raise BenchError(f"gdb did not list {count} threads: {printed.strip()[-300:]}")
            goal = "< 100 ms" if count == 10_000 else ""
            report.row(section, f"{count}: server's CPU time", "ms", goal).add(OURS, used * 1e3)
            report.row(section, f"{count}: of gdb's wall time", "ms").add(
                OURS, float(match[1]) * 1e3
            )
    report.print(section)
