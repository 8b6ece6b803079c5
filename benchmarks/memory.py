"""Memory: throughput through gdb, throughput and round trips of a plain socket client."""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contents import Content, Span
from benchmarks.programs import (
    BUILD,
    BenchError,
    Running,
    Unsupported,
    client,
    gdb,
    gdbserver,
    our_server,
    python_stub,
    stub,
)
from benchmarks.report import Report

OURS, THEIRS, STUB = "kdump-gdbserver", "gdbserver", "C stub"
READY, IN_PYTHON = "C stub, ready replies", "do-nothing Python"
_PAGE = 4096
_ROUND_TRIPS = 20_000

_TIMED_DUMP = """\
import time
_start, _cpu = time.perf_counter(), time.process_time()
for number, (start, end) in enumerate({spans}):
    gdb.execute("dump binary memory {folder}/%d %#x %#x" % (number, start, end))
print("seconds", time.perf_counter() - _start, time.process_time() - _cpu)
"""


def _server(
    who: str, contents: Sequence[Content], cpu: int | None = None
) -> contextlib.AbstractContextManager[Running]:
    parts = [content.part for content in contents]
    if who == OURS:
        return our_server(contents[0].dump, cpu=cpu)
    return gdbserver(parts, cpu) if who == THEIRS else stub(parts, cpu)


def _spans(who: str, content: Content) -> tuple[Span, ...]:
    return content.ours if who == OURS else content.theirs


def _dump_by_gdb(
    server: Running, spans: Sequence[Span], expected: Path, newest: bool = False
) -> tuple[float, float, float]:
    """Let gdb write the spans to files; wrong bytes are an error.

    Return the seconds it took, and the CPU time of gdb and of the server in them.
    """
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        ranges = [(span.start, span.start + span.length) for span in spans]
        script = Path(folder) / "timed.py"
        script.write_text(_TIMED_DUMP.format(spans=ranges, folder=folder))
        before = server.cpu_seconds
        printed = gdb(server, f"source {script}", newest=newest)
        used = server.cpu_seconds - before
        match = re.search(r"^seconds ([0-9.]+) ([0-9.]+)", printed, re.MULTILINE)
        if match is None:
            raise BenchError(f"gdb did not get through: {printed.strip()[-300:]}")
        got = b"".join((Path(folder) / str(n)).read_bytes() for n in range(len(ranges)))
    if got != expected.read_bytes():
        raise BenchError("gdb got other bytes than those served")
    return float(match[1]), float(match[2]), used


def through_gdb(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """`dump binary memory` of each content from each server."""
    section = "memory through gdb"
    goals = {
        "random": ">= 95 % of the stub",
        "real kernel memory": ">= 3 x gdbserver",
        "zero": ">= 8 x gdbserver",
    }
    for _ in range(rounds):
        for content in contents:
            row = report.row(section, content.name, "MiB/s", goals[content.name])
            gdb_row = report.row(section, f"{content.name}: CPU time of gdb", "s")
            server_row = report.row(section, f"{content.name}: CPU time of the server", "s")
            for who in (OURS, THEIRS, STUB):
                with _server(who, [content]) as server:
                    spans = _spans(who, content)
                    wall, by_gdb, by_server = _dump_by_gdb(server, spans, content.bytes_file)
                row.add(who, content.size / wall / (1 << 20))
                gdb_row.add(who, by_gdb)
                server_row.add(who, by_server)
            with stub([content.part], ready=True) as server:
                _dump_by_gdb(server, content.theirs, content.bytes_file)
                wall, by_gdb, by_server = _dump_by_gdb(server, content.theirs, content.bytes_file)
            row.add(READY, content.size / wall / (1 << 20))
            gdb_row.add(READY, by_gdb)
            server_row.add(READY, by_server)
    report.print(section)


def through_newest_gdb(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """The same by the newest gdb and its gdbserver, which use `x`."""
    section = "memory through the newest gdb"
    for _, content in itertools.product(range(rounds), contents):
        row = report.row(section, content.name, "MiB/s")
        try:
            with our_server(content.dump) as server:
                wall, *_ = _dump_by_gdb(server, content.ours, content.bytes_file, newest=True)
                row.add(OURS, content.size / wall / (1 << 20))
            with gdbserver([content.part], newest=True) as server:
                wall, *_ = _dump_by_gdb(server, content.theirs, content.bytes_file, newest=True)
                row.add(THEIRS, content.size / wall / (1 << 20))
        except Unsupported as reason:
            print(f"{section} is left out: {reason}\n")
            return
    report.print(section)


def through_lldb(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """`memory read` to a file by LLDB, which uses `x`; gdbserver has no such packet."""
    section = "memory through LLDB"
    if shutil.which("lldb") is None:
        print("no LLDB: its part is left out\n")
        return
    for _ in range(rounds):
        for content in contents:
            row = report.row(section, content.name, "MiB/s", ">= 90 % of the stub")
            for who in (OURS, STUB):
                with _server(who, [content]) as server:
                    row.add(who, content.size / (1 << 20) / _dump_by_lldb(server, who, content))
    report.print(section)


def _dump_by_lldb(server: Running, who: str, content: Content) -> float:
    """Let LLDB write the memory to files; return the seconds, a shell's start among them."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        spans = _spans(who, content)
        clock = "platform shell date +seconds=%s.%N"
        commands = [f"gdb-remote localhost:{server.port}", clock]
        for number, span in enumerate(spans):
            to = f"--binary --outfile {folder}/{number}"
            commands.append(f"memory read --force {to} --count {span.length} {span.start:#x}")
        arguments = [part for command in (*commands, clock) for part in ("-o", command)]
        done = subprocess.run(
            ["lldb", "-x", "-b", *arguments], capture_output=True, text=True, check=False
        )
        times = re.findall(r"^seconds=([0-9.]+)", done.stdout, re.MULTILINE)
        files = [Path(folder) / str(number) for number in range(len(spans))]
        if len(times) != 2 or not all(file.exists() for file in files):
            raise BenchError(f"LLDB did not get through: {(done.stdout + done.stderr)[-300:]}")
        if b"".join(file.read_bytes() for file in files) != content.bytes_file.read_bytes():
            raise BenchError("LLDB got other bytes than those served")
    return float(times[1]) - float(times[0])


def _addresses(spans: Sequence[Span], count: int) -> list[int]:
    """Return one address in each page, pages in random order."""
    pages = [at for span in spans for at in range(span.start, span.start + span.length, _PAGE)]
    if len(pages) < count:
        raise BenchError(f"{count} distinct pages are wanted, there are {len(pages)}")
    choice = random.Random(8)
    return [page + 8 * choice.randrange(_PAGE // 8) for page in choice.sample(pages, count)]


def round_trips(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """8-byte reads at distinct pages, on one CPU and across two."""
    section = "8-byte reads"
    places: dict[str, tuple[int | None, int | None]] = {
        "client and server on one CPU": (0, 0),
        "on two CPUs": (0, 1),
        "where the kernel puts them": (None, None),
    }
    both = [content for content in contents if content.dump == contents[0].dump]
    for _ in range(rounds):
        for name, (server_cpu, client_cpu) in places.items():
            row = report.row(section, name, "us each", "< gdbserver")
            for who in (OURS, THEIRS, STUB):
                spans = [span for content in both for span in _spans(who, content)]
                file = BUILD / "addresses"
                lines = [f"{at:x}\n" for at in _addresses(spans, _ROUND_TRIPS)]
                file.write_text("".join(lines))
                with _server(who, both, server_cpu) as server:
                    row.add(who, client(server, "latency", str(file), cpu=client_cpu))
            with python_stub(server_cpu) as server:
                row.add(IN_PYTHON, client(server, "latency", str(file), cpu=client_cpu))
    report.print(section)


def streams(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """`m` and `x` to a plain socket client; the dump is in the page cache."""
    section = "memory to a socket client"
    goals = {"m": ">= 400", "x": ">= 800"}
    places = {"one CPU": (0, 0), "two CPUs": (0, 1)}
    for _ in range(rounds):
        for content in contents:
            for kind, (place, cpus) in itertools.product(goals, places.items()):
                row = report.row(section, f"{kind}, {content.name}, {place}", "MiB/s", goals[kind])
                # Others' work on the machine changes this one less.
                busy = report.row(section, f"{row.name}, busy server", "MiB/s", goals[kind])
                for who in (OURS, THEIRS, STUB):
                    with (
                        contextlib.suppress(Unsupported),
                        _server(who, [content], cpus[0]) as server,
                    ):
                        before = server.cpu_seconds
                        row.add(who, _stream(server, kind, _spans(who, content), cpus[1]))
                        busy.add(who, content.size / (1 << 20) / (server.cpu_seconds - before))
    report.print(section)


def check_streams(contents: Sequence[Content]) -> None:
    """Compare what the client decodes with what is served; raise `BenchError` if it differs."""
    file = BUILD / "decoded"
    for content, kind, who in itertools.product(contents, "MX", (OURS, STUB)):
        with contextlib.suppress(Unsupported), _server(who, [content]) as server:
            _stream(server, kind, _spans(who, content), None, str(file))
            if not filecmp.cmp(file, content.bytes_file, shallow=False):
                raise BenchError(f"{kind.lower()} replies of {who}: wrong bytes ({content.name})")


def _stream(
    server: Running, kind: str, spans: Sequence[Span], cpu: int | None, *file: str
) -> float:
    """Return MiB/s over all spans."""
    pairs = [text for span in spans for text in (hex(span.start), str(span.length))]
    return client(server, kind, *file, *pairs, cpu=cpu)
