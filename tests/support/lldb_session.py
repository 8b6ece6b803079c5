"""Run a real LLDB on a server, as a user would."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.gdb_session import SECONDS, Server, find_program

_LLDB_SECONDS = 900
# By default it waits 5 s for an answer; tests share the processor.
_PATIENCE = f"settings set plugin.process.gdb-remote.packet-timeout {SECONDS}"
# Debian's LLDB prints this when its Python part is not installed; the rest of it works.
_NO_PYTHON = re.compile(
    r"Traceback \(most recent call last\):\n  File \"<string>\".*\n"
    r"ModuleNotFoundError: No module named 'lldb[^\n]*\n"
)

_FRAME = re.compile(
    r"^\s*\*?\s+frame #\d+: 0x[0-9a-f]+ [^`]*`(?:\S+ \[inlined\] )?(\w+)", re.MULTILINE
)


def lldb(
    server: Server, *commands: str, file: Path | None = None, before: Sequence[str] = ()
) -> str:
    """Run LLDB in batch mode: load `file`, `before`, connect, `commands`; return all it printed."""
    arguments = [find_program("lldb"), "--no-lldbinit", "--batch", "--no-use-colors"]
    create = [f"target create {file}"] if file else []
    for command in (_PATIENCE, *create, *before, f"gdb-remote {server.port}", *commands):
        arguments += ["-o", command]
    done = subprocess.run(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_LLDB_SECONDS,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    text = _NO_PYTHON.sub("", done.stdout)
    assert "Traceback" not in text, text
    return text


def lldb_frames(backtrace: str) -> list[str]:
    """Return the function names of a printed backtrace, inlined ones with their functions."""
    return _FRAME.findall(backtrace)
