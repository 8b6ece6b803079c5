"""Results: named series of numbers, as a table on the screen and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One thing measured on several servers: the medians of its rounds stand side by side."""

    name: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    goal: str = ""

    def add(self, who: str, value: float) -> None:
        """Add one round's result."""
        self.values.setdefault(who, []).append(value)

    def median(self, who: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.values[who])


@dataclass
class Report:
    """All rows by section, in order."""

    sections: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, section: str, name: str, unit: str, goal: str = "") -> Row:
        """Return the row of that name, a new one if there is none."""
        rows = self.sections.setdefault(section, [])
        for row in rows:
            if row.name == name:
                return row
        rows.append(Row(name, unit, goal=goal))
        return rows[-1]

    def print(self, section: str) -> None:
        """Print one section as a table."""
        rows = self.sections.get(section, [])
        columns: list[str] = []
        for row in rows:
            columns += [who for who in row.values if who not in columns]
        head = [section, *columns, "goal"]
        lines = [head]
        for row in rows:
            cells = [_number(row, who) for who in columns]
            lines.append([f"{row.name} ({row.unit})", *cells, row.goal])
        print(table(lines), flush=True)

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        content = {
            "machine": machine(),
            "notes": self.notes,
            "sections": {
                section: [
                    {
                        "name": row.name,
                        "unit": row.unit,
                        "goal": row.goal,
                        "median": {who: row.median(who) for who in row.values},
                        "rounds": row.values,
                    }
                    for row in rows
                ]
                for section, rows in self.sections.items()
            },
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def _number(row: Row, who: str) -> str:
    if who not in row.values:
        return "-"
    median, values = row.median(who), row.values[who]
    digits = 2 if median < 10 else 1 if median < 100 else 0
    spread = "" if len(values) < 2 else f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
    return f"{median:.{digits}f}{spread}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a table: its head, a rule, its rows; all but the first and last column flush right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(line[1:-1], widths[1:-1], strict=True)),
        ]
        text.append("  ".join([*cells, line[-1]]).rstrip())
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join(text) + "\n"


def machine() -> dict[str, object]:
    """Say what the figures were measured on."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    versions = {}
    for program in ("gdb", "gdbserver"):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        versions[program] = done.stdout.split("\n", 1)[0]
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        **versions,
    }
