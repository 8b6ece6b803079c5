"""Measure the server beside gdbserver and a do-nothing stub, all in one run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import decompression, memory, stages, start
from benchmarks.contents import SIZE, contents, describe
from benchmarks.programs import BUILD, BenchError
from benchmarks.report import Report
from benchmarks.synthetic import MIB

_SECTIONS = {
    "start": start.start,
    "threads": start.threads,
    "trips": memory.round_trips,
    "stages": stages.stages,
    "streams": memory.streams,
    "kdump": decompression.pages,
    "gdb": memory.through_gdb,
    "newest-gdb": memory.through_newest_gdb,
    "lldb": memory.through_lldb,
}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*_SECTIONS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many (5)")
    parser.add_argument("--size", type=int, default=SIZE // MIB, help="MiB of each content (64)")
    parser.add_argument("--json", type=Path, default=BUILD.parent / "bench.json", metavar="FILE")
    options = parser.parse_args()
    report = Report()
    try:
        made = contents(options.size * MIB)
        for content in made:
            report.notes.append(f"{content.name}: {describe(content)}")
        if len(made) < 3:
            report.notes.append("no real kernel memory: run 'make real' first")
        print(*report.notes, "", sep="\n")
        memory.check_streams(made)
        for name in options.sections or _SECTIONS:
            _SECTIONS[name](report, made, options.rounds)
    except BenchError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 1
    finally:
        report.save(options.json)
    print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
