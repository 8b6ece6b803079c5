"""What a real gdb shows of a served dump."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gdb_session import SECONDS, Server, find_program

TOP = Path(__file__).parents[3]
SCRIPT = TOP / "gdb" / "KdumpGdbCommands.py"
_GDB_SECONDS = 300


@dataclass
class Shown:
    """Chains by thread number, globals by name, and all that gdb printed."""

    chains: dict[str, dict[str, Any]] = field(default_factory=dict)
    globals: dict[str, list[Any]] = field(default_factory=dict)
    printed: str = ""


def gdb_for(arch: str) -> str:
    """The gdb that knows an architecture."""
    return find_program("gdb" if arch == "x86_64" else "gdb-multiarch")


def ask(  # noqa: PLR0917
    server: Server, arch: str, file_command: str, work: Path, names: dict[str, int],
    commands: Sequence[str] = (), *, chains: bool = True, with_script: bool = True, gdb: str = "",
) -> Shown:  # fmt: skip
    """One session: the symbol file, the connection, our script, chains and globals, commands.

    `gdb` is the one to run instead of the architecture's.
    """
    asked, answer = work / "asked.json", work / "answer.json"
    asked.write_text(json.dumps({"chains": chains, "globals": names}))
    answer.unlink(missing_ok=True)
    script = [
        "set width 0", f"set remotetimeout {SECONDS}", file_command,
        f"target remote localhost:{server.port}", *([f"source {SCRIPT}"] if with_script else ()),
        f"python import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import in_gdb",
        f"python in_gdb.write({str(asked)!r}, {str(answer)!r})",
        *commands,
    ]  # fmt: skip
    arguments = [gdb or gdb_for(arch), "-nx", "-q", "-batch"]
    for command in script:
        arguments += ["-ex", command]
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        timeout=_GDB_SECONDS, stdin=subprocess.DEVNULL, check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    told = json.loads(answer.read_text()) if answer.exists() else {"chains": {}, "globals": {}}
    return Shown(told["chains"], told["globals"], done.stdout)
