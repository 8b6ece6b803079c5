"""Draw docs/benchmarks.png from a run's JSON: `python -m benchmarks.chart [FILE]`.

Needs matplotlib, which nothing else here does: pip install ".[bench]"
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COLOURS = {
    "kdump-gdbserver": "#1f77b4",
    "gdbserver": "#ff7f0e",
    "C stub": "#999999",
    "C stub, ready replies": "#555555",
    "do-nothing Python": "#bbbbbb",
}
_CONTENTS = {"random": "random", "real kernel memory": "real kernel", "zero": "zeros"}
# Section, title, and the names of the rows with what to call them.
PARTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("memory through gdb", "dump memory through gdb 13, MiB/s", _CONTENTS),
    ("memory through the newest gdb", "through the newest gdb, MiB/s", _CONTENTS),
    ("memory through LLDB", "memory read by LLDB, MiB/s", _CONTENTS),
    (
        "memory to a socket client",
        "m to a socket client, one CPU, MiB/s",
        {f"m, {name}, one CPU": short for name, short in _CONTENTS.items()},
    ),
    (
        "memory to a socket client",
        "x to a socket client, one CPU, MiB/s",
        {f"x, {name}, one CPU": short for name, short in _CONTENTS.items()},
    ),
    (
        "8-byte reads",
        "8-byte reads, microseconds each (less is better)",
        {"client and server on one CPU": "one CPU", "on two CPUs": "two CPUs"},
    ),
)
_COLUMNS = 3


def _draw(axes: Any, rows: dict[str, dict[str, Any]], title: str, names: dict[str, str]) -> None:
    present = [name for name in names if name in rows]
    shown = [who for who in COLOURS if any(who in rows[name]["median"] for name in present)]
    width = 0.85 / max(len(shown), 1)
    for place, who in enumerate(shown):
        values = [rows[name]["median"].get(who, 0) for name in present]
        spots = [index + (place - (len(shown) - 1) / 2) * width for index in range(len(present))]
        bars = axes.bar(spots, values, width * 0.93, label=who, color=COLOURS[who])
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(present)), [names[name] for name in present])
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]

    mpl.use("Agg")
    from matplotlib import pyplot

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "bench.json"
    sections = json.loads(path.read_text())["sections"]
    parts = [part for part in PARTS if part[0] in sections]
    lines = -(-len(parts) // _COLUMNS)
    figure, places = pyplot.subplots(lines, _COLUMNS, figsize=(13, 3.4 * lines), squeeze=False)
    for axes, (section, title, names) in zip(places.flat, parts, strict=False):
        _draw(axes, {row["name"]: row for row in sections[section]}, title, names)
    for axes in places.flat[len(parts) :]:
        axes.set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE.parent / "docs" / "benchmarks.png", dpi=110)


if __name__ == "__main__":
    main()
