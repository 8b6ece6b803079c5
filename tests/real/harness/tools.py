"""The programs of this machine that the harness runs: finding them and running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from .errors import HarnessError

PACKAGE_OF = {
    "readelf": "binutils",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg-deb": "dpkg",
}


def find_tool(name: str, packages: str = "") -> str:
    """The path of program `name`: from PATH, else from `$KDUMP_GDBSERVER_DEBROOT/usr/bin`.

    Raises HarnessError naming the Debian `packages` that bring it.
    """
    found = shutil.which(name)
    debroot = os.environ.get("KDUMP_GDBSERVER_DEBROOT")
    if not found and debroot:
        folders = [str(Path(debroot) / sub) for sub in ("usr/bin", "bin", "usr/sbin", "sbin")]
        found = shutil.which(name, path=os.pathsep.join(folders))
    if not found:
        packages = packages or PACKAGE_OF.get(name, name)
        raise HarnessError(f"program {name} not found: install Debian's {packages}")
    return found


def run(
    command: Sequence[str | Path], *, cwd: Path | None = None, timeout_s: float = 600,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
) -> str:  # fmt: skip
    """Run `command` and return its standard output.

    Raises HarnessError with its own words if it fails or outlasts `timeout_s`.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, timeout=timeout_s, capture_output=True, text=True,
            errors="replace", stdin=stdin, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"cannot run {words[0]}: {error}") from error
    if done.returncode:
        command_name = Path(words[0]).name
        raise HarnessError(f"{command_name} failed ({done.returncode}): {_reason(done)}")
    return done.stdout


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed program said, in one line: its lines marked as errors, else its last ones."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    marked = [line for line in lines if re.search(r"^E: |\berror\b|undefined|cannot", line)]
    return "; ".join((marked or lines)[-3:])
