"""The scripts in docs/library.md work as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "tests" / "sample"
SCRIPTS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.S)
FACTS = json.loads((SAMPLE / "facts.json").read_text())


def lines_of(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, str(SAMPLE / "toy-vmcore")],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_script_in_the_documentation_runs() -> None:
    lines = lines_of(SCRIPTS[0])
    assert lines[0] == f"x86_64 {FACTS['osrelease']} {int(FACTS['kaslr_offset'], 16)}"
    assert [line.split()[2] for line in lines[1:3]] == ["0:", "1:"]
    assert lines[1].endswith(f"pc {FACTS['threads'][0]['registers']['rip']}")
    assert len(bytes.fromhex(lines[3])) == 16


def test_script_that_walks_the_kernel_runs() -> None:
    """On real kernels it is run by tests/real/test_domain_kernel.py."""
    runqueues = int(FACTS["per_cpu"]["symbols"]["runqueues"], 16)
    places = [int(offset, 16) + runqueues for offset in FACTS["per_cpu"]["offsets"]]
    assert lines_of(SCRIPTS[1]) == [
        *(f"CPU {cpu}: runqueue at {place:#x}" for cpu, place in enumerate(places)),
        "tasks: no symbol init_pid_ns: kernel not supported",
    ]
    assert len(SCRIPTS) == 2
