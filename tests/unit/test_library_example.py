"""The script in docs/library.md works as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "sample"


def test_script_in_the_documentation_runs() -> None:
    match = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.S)
    assert match is not None
    done = subprocess.run(
        [sys.executable, "-c", match[1], str(SAMPLE / "toy-vmcore")],
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads((SAMPLE / "facts.json").read_text())
    lines = done.stdout.splitlines()
    assert lines[0] == f"x86_64 {facts['osrelease']} {int(facts['kaslr_offset'], 16)}"
    assert [line.split()[2] for line in lines[1:3]] == ["0:", "1:"]
    assert lines[1].endswith(f"pc {facts['threads'][0]['registers']['rip']}")
    assert len(bytes.fromhex(lines[3])) == 16
