"""Measure this checkout beside another one, in turn, row by row: what a change has cost.

    git worktree add ../before v0.1.0 && (cd ../before && scripts/setup python)
    python -m benchmarks.compare ../before start trips stages

Each round runs the benchmarks of both, one after the other, so that a machine whose speed
drifts is no faster for one of them. A ratio above 1 is better than before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import table

_HERE = Path(__file__).resolve().parent.parent
_OURS = "kdump-gdbserver"
_Rows = dict[tuple[str, str, str], list[float]]


def main() -> int:
    """Run the command line; the exit status is 1 when a row is below `--least`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("before", type=Path, help="a checkout with a .venv of its own")
    parser.add_argument("sections", nargs="*", default=["start", "threads", "trips", "stages"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--least", type=float, default=0.97, help="the ratio that is good enough")
    options = parser.parse_args()
    rows: dict[Path, _Rows] = {options.before.resolve(): {}, _HERE: {}}
    for _ in range(options.rounds):
        for checkout, found in rows.items():
            for key, value in _measure(checkout, options.sections):
                found.setdefault(key, []).append(value)
    before, after = rows.values()
    lines = [["", "before", "after", "ratio"]]
    worst = 2.0
    for key in after:
        if key not in before:
            continue
        old, new = statistics.median(before[key]), statistics.median(after[key])
        section, name, unit = key
        # Times and sizes ought to be small, rates large.
        ratio = new / old if unit.endswith("/s") else old / new
        worst = min(worst, ratio)
        lines.append([f"{section}: {name} ({unit})", f"{old:.4g}", f"{new:.4g}", f"{ratio:.2f}"])
    print(table(lines))
    return int(worst < options.least)


def _measure(checkout: Path, sections: list[str]) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Run a checkout's own benchmarks once; yield its own rows."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "bench.json"
        command = [".venv/bin/python", "-m", "benchmarks", *sections, "--rounds", "1"]
        done = subprocess.run(
            [*command, "--json", str(result)], cwd=checkout, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{checkout}: {done.stderr.strip()}")
        for section, found in json.loads(result.read_text())["sections"].items():
            for row in found:
                if _OURS in row["median"]:
                    yield (section, row["name"], row["unit"]), row["median"][_OURS]


if __name__ == "__main__":
    sys.exit(main())
