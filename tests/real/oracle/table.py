"""docs/trust.md and docs/trust.json: what was compared with what, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

_HEAD = """\
# Trust: every answer beside another program's

Made by `scripts/trust` from `docs/trust.json`, which is what a run of `python -m
tests.real.oracle` found. Not written by hand; a test makes it again and compares.

Each real dump, in every form that it has, is served once. What the server answers is compared with
what [drgn](https://drgn.readthedocs.io) says with the kernel's own debug information, with QEMU's
`info registers` at the moment of the dump, and, through a real gdb, frame by frame. drgn walks no
page tables of riscv64 and unwinds none of its stacks; there the tests have a page-table walk and
a walk of frame pointers of their own. No dump is read with the server's code on both sides.

- **memory**: 2,000 addresses chosen by chance in the kernel's text, data, direct map, vmalloc and
  per-CPU areas, 1 to 32 bytes each; addresses that are not mapped must be errors. In process
  mode 250 in the mappings of each program.
- **registers**: all general registers of every CPU; in process mode those of each sleeping thread.
- **globals**: address and value of 60 variables, in gdb.
- **tasks**: process, parent, name, user and state of every task, and its thread in gdb.
- **chains**: pc of every frame but inlined ones, to where the stack ends. A nameless frame or
  "corrupt stack" is a difference.

"""
_COLUMNS = "| Dump | Form | Mode | Check | Compared with | Equal | Different | Absent |"
_RULE = "|---|---|---|---|---|--:|--:|--:|"


def line(row: Row) -> str:
    """One row for a terminal, with examples of what differs."""
    text = "{dump} {form} {mode} {check}: {equal} equal, {different} different, {absent} absent"
    lines = [text.format_map(row), *(f"    {example}" for example in row["examples"])]
    return "\n".join(lines)


def save(path: Path, rows: Sequence[Row], missing: Mapping[str, str]) -> None:
    """Write what a run found."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{{"missing": {json.dumps(missing)},\n"rows": [\n{lines}\n]}}\n')


def document(told: Mapping[str, Any]) -> str:
    """The text of docs/trust.md."""
    rows: Sequence[Row] = told["rows"]
    totals = {key: sum(row[key] for row in rows) for key in ("equal", "different", "absent")}
    dumps = list(dict.fromkeys(row["dump"] for row in rows))
    parts = [
        _HEAD,
        f"**{totals['equal']:,} answers equal, {totals['different']:,} different,** "
        f"{totals['absent']:,} could not be compared; {len(dumps)} dumps, "
        f"{len({(row['dump'], row['form']) for row in rows})} files or sets of files.\n\n",
        *_summary(rows, dumps),
        "\n## Every comparison\n\n",
        _COLUMNS + "\n" + _RULE + "\n",
        *(_row(row) for row in rows),
        *_notes("## Why absent", rows, "why"),
        *_notes("## What differs", rows, "examples"),
    ]
    if told["missing"]:
        parts.append("\n## Dumps that were not to be had\n\n")
        parts += [f"- {name}: {why}\n" for name, why in told["missing"].items()]
    return "".join(parts)


def _summary(rows: Sequence[Row], dumps: Iterable[str]) -> Iterable[str]:
    modes = ("kernel", "-k", "-j")
    yield "| Dump | Forms | Kernel | With tasks (`-k`) | Process (`-j`) |\n|---|---|---|---|---|\n"
    for dump in dumps:
        own = [row for row in rows if row["dump"] == dump]
        forms = ", ".join(dict.fromkeys(row["form"] for row in own))
        cells = [_verdict([row for row in own if row["mode"] == mode]) for mode in modes]
        yield f"| {dump} | {forms} | {' | '.join(cells)} |\n"


def _verdict(rows: Sequence[Row]) -> str:
    equal, different = (sum(row[key] for row in rows) for key in ("equal", "different"))
    if different:
        return f"{different:,} of {equal + different:,} differ"
    return f"{equal:,} equal" if equal else "not compared"


def _row(row: Row) -> str:
    numbers = " | ".join(f"{row[key]:,}" for key in ("equal", "different", "absent"))
    return (
        f"| {row['dump']} | {row['form']} | {row['mode']} | {row['check']} | {row['oracle']} "
        f"| {numbers} |\n"
    )


def _notes(title: str, rows: Sequence[Row], key: str) -> Iterable[str]:
    found: dict[str, list[str]] = {}
    for row in rows:
        for note in row[key]:
            where = f"{row['dump']} {row['form']} {row['mode']}"
            found.setdefault(f"{row['check']}: {note}", []).append(where)
    if found:
        yield f"\n{title}\n\n"
    for note, places in found.items():
        unique = list(dict.fromkeys(places))
        more = f" and {len(unique) - 1} more" if len(unique) > 1 else ""
        yield f"- {note} ({unique[0]}{more})\n"


def architectures(told: Mapping[str, Any]) -> str:
    """The README's table: what was proved on what, by architecture."""
    rows: Sequence[Row] = told["rows"]
    lines = [
        "| Architecture | Compared on | Kernel | With tasks | Process |",
        "|---|---|---|---|---|",
    ]
    for arch in dict.fromkeys(row["dump"].split("/")[0] for row in rows):
        own = [row for row in rows if row["dump"].startswith(f"{arch}/")]
        releases = dict.fromkeys(row["dump"].split("/")[1].rsplit("-", 1)[0] for row in own)
        cells = [_verdict([row for row in own if row["mode"] == m]) for m in ("kernel", "-k", "-j")]
        lines.append(f"| {arch} | Linux {', '.join(releases)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
