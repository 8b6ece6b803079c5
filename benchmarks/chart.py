"""Draw docs/benchmarks.png from a run's JSON: `python -m benchmarks.chart [FILE]`.

Needs matplotlib, which nothing else here does: pip install matplotlib
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COLOURS = {"kdump-gdbserver": "#1f77b4", "gdbserver": "#ff7f0e", "C stub": "#999999"}
# Section, title, and the names of the rows with what to call them.
PARTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "memory through gdb",
        "dump binary memory through gdb, MiB/s",
        {"random": "random", "real kernel memory": "real kernel", "zero": "zeros"},
    ),
    (
        "memory to a socket client",
        "m replies to a socket client, one CPU, MiB/s",
        {
            "m, random, one CPU": "random",
            "m, real kernel memory, one CPU": "real kernel",
            "m, zero, one CPU": "zeros",
        },
    ),
    (
        "8-byte reads",
        "8-byte reads, microseconds each (less is better)",
        {"client and server on one CPU": "one CPU", "on two CPUs": "two CPUs"},
    ),
)


def _draw(axes: Any, rows: dict[str, dict[str, Any]], title: str, names: dict[str, str]) -> None:
    present = [name for name in names if name in rows]
    for place, (who, colour) in enumerate(COLOURS.items()):
        values = [rows[name]["median"].get(who, 0) for name in present]
        spots = [index + (place - 1) * 0.27 for index in range(len(present))]
        bars = axes.bar(spots, values, 0.25, label=who, color=colour)
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(present)), [names[name] for name in present])
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]

    mpl.use("Agg")
    from matplotlib import pyplot

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "bench.json"
    sections = json.loads(path.read_text())["sections"]
    figure, places = pyplot.subplots(1, len(PARTS), figsize=(13, 3.6))
    for axes, (section, title, names) in zip(places, PARTS, strict=True):
        _draw(axes, {row["name"]: row for row in sections[section]}, title, names)
    places[0].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(HERE.parent / "docs" / "benchmarks.png", dpi=110)


if __name__ == "__main__":
    main()
