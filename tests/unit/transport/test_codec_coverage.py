"""The codec is covered to 100 %, by branch, by its own tests and the fuzzer's corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODEC = ("framing", "checksum", "run_length")
TESTS = ("transport/test_framing.py", "transport/test_run_length.py", "project/test_fuzz_corpus.py")


def test_every_branch_of_the_codec_is_taken(tmp_path: Path) -> None:
    def coverage(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=ROOT,
            # Elsewhere examples are chosen anew each time; here they have to be the same.
            env={**os.environ, "CI": "true", "HYPOTHESIS_PROFILE": "quick"}
            | {"COVERAGE_FILE": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    tests = [f"tests/unit/{name}" for name in TESTS]
    # The other targets, and streams of megabytes, which take long and no other branch.
    only = ("-k", "not dispatcher and not sidecar and not vmcoreinfo and not 16411")
    source = "--include=" + ",".join(f"*/rsp_tcp/wire/{name}.py" for name in CODEC)
    coverage(
        "run", "--branch", source, "-m", "pytest", "-q", "-p", "no:cacheprovider", *only, *tests
    )
    report = tmp_path / "report.json"
    coverage("json", "-o", str(report))
    files = json.loads(report.read_text())["files"]
    assert {Path(path).stem for path in files} == set(CODEC)
    for path, file in files.items():
        assert file["missing_lines"] == [], path
        assert file["missing_branches"] == [], path
    assert sum(file["summary"]["num_branches"] for file in files.values()) > 40
