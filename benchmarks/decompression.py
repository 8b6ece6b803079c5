"""Compressed dumps: pages to a socket client beside libkdumpfile in a plain C loop."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contents import Content, Span, real_folder, real_spans
from benchmarks.memory import OURS
from benchmarks.programs import BenchError, Unsupported, client, compiled, our_server, pinned
from benchmarks.report import Report
from kdump_gdbserver.adapters.kdumpfile.library.bindings import KVADDR
from kdump_gdbserver.adapters.kdumpfile.library.loading import load_library

_PIECE = 0x10000


def pages(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """Memory of a real machine from what makedumpfile wrote."""
    section = "kdump-compressed pages"
    folder = real_folder("kdump", "d0-zlib")
    if folder is None:
        print("no kdump-compressed dump of all memory: run 'make real' first\n")
        return
    dump = folder / "dumps" / "d0-zlib"
    spans = [span for span, _ in real_spans(folder, contents[0].size)]
    for _ in range(rounds):
        goal = ">= 80 % of libkdumpfile"
        row = report.row(section, "zlib, real memory, one CPU", "MiB/s", goal)
        busy = report.row(section, "zlib, real memory, busy server", "MiB/s", goal)
        wall, cpu = _plain_loop(dump, spans)
        row.add("libkdumpfile in C", wall)
        busy.add("libkdumpfile in C", cpu)
        for kind in "mx":
            with contextlib.suppress(Unsupported), our_server(dump, cpu=0) as server:
                pairs = [text for span in spans for text in (hex(span.start), str(span.length))]
                before = server.cpu_seconds
                row.add(f"{OURS} {kind}", client(server, kind, *pairs, cpu=0))
                size = sum(span.length for span in spans) / (1 << 20)
                busy.add(f"{OURS} {kind}", size / (server.cpu_seconds - before))
    report.print(section)


def _plain_loop(dump: Path, spans: Sequence[Span]) -> tuple[float, float]:
    """Return MiB/s by the clock, and by CPU time."""
    pairs = [text for span in spans for text in (hex(span.start), str(span.length))]
    command = [str(compiled("kdump_loop", "-ldl")), load_library().path, str(dump)]
    done = subprocess.run(
        pinned(0, [*command, str(KVADDR), str(_PIECE), *pairs]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(done.stderr.strip())
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)
