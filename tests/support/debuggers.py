"""Debuggers of two generations: the system's, and the newest where the virtualenv has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_NAMES = ("gdb", "lldb")


def _newest() -> dict[str, Path]:
    """Return the debuggers that `pip install .[debuggers]` brought, those that can run."""
    found: dict[str, Path] = {}
    for name in _NAMES:
        path = Path(sys.executable).parent / name
        if path.exists():
            tried = subprocess.run([path, "--version"], capture_output=True, check=False)
            if tried.returncode == 0:
                found[name] = path
    return found


@pytest.fixture(params=["system", "newest"])
def each_debugger(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Run a test with the system's gdb and LLDB, and with the newest."""
    if request.param == "newest":
        found = _newest()
        if set(found) != set(_NAMES):
            pytest.skip("no newer gdb and LLDB: pip install '.[debuggers]' brings them")
        for name, path in found.items():
            # Not a link: Python finds its virtualenv by the place of the script.
            script = tmp_path / name
            script.write_text(f'#!/bin/sh\nexec "{path}" "$@"\n')
            script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return str(request.param)
