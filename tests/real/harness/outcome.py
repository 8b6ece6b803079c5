"""What the scenarios share: how they crash, and how they lay down what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CRASH = "echo c > /proc/sysrq-trigger"
SPINNER_CPU = 2
_BLOCK = 1 << 16


def save(folder: Path, told: dict[str, Any], console: str) -> None:
    """Write facts.json and console.log."""
    (folder / "facts.json").write_text(json.dumps(told, indent=1))
    (folder / "console.log").write_text(console)


def sparse_copy(source: Path, target: Path, size: int | None = None) -> None:
    """Copy the first `size` bytes of a file (default: all), leaving holes for zeros.

    Most of a guest's memory was never written, so this saves most of a dump's disk space.
    """
    size = source.stat().st_size if size is None else size
    zeros = bytes(_BLOCK)
    with source.open("rb") as reader, target.open("wb") as writer:
        for at in range(0, size, _BLOCK):
            chunk = reader.read(min(_BLOCK, size - at))
            if chunk == zeros:
                writer.seek(_BLOCK, 1)
            else:
                writer.write(chunk)
        writer.truncate(size)
