"""Write docs/trust.md and the README's table from docs/trust.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.real.oracle import table

TOP = Path(__file__).parents[3]
RESULTS = TOP / "docs/trust.json"
DOCUMENT = TOP / "docs/trust.md"
README = TOP / "README.md"
_MARKED = re.compile(r"(<!-- table: docs/trust.json -->\n).*?(<!-- end of table -->)", re.S)


def made() -> dict[Path, str]:
    """What each document must hold. Raises `ValueError` when the README has no place for it."""
    told = json.loads(RESULTS.read_text())
    rows = table.architectures(told)
    text = README.read_text()
    readme, count = _MARKED.subn(lambda found: f"{found[1]}\n{rows}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"{README} has {count} places for the table of architectures; needs one")
    return {DOCUMENT: table.document(told), README: readme}


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
