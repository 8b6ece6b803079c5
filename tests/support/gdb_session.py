"""Run the server and a real gdb on it, as a user would."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

# For a test to fail instead of hanging, however busy the machine is.
SECONDS = 60
_GDB_SECONDS = 900


def find_program(name: str) -> str:
    """Return the path of a program, or skip the test (fail it under CI)."""
    root = os.environ.get("KDUMP_GDBSERVER_DEBROOT")
    extra = f":{root}/bin:{root}/usr/bin" if root else ""
    found = shutil.which(name, path=os.environ.get("PATH", "") + extra)
    if found is None:
        missing(f"{name} is not installed")
    return str(found)


def missing(reason: str) -> None:
    """Skip for `reason`; under CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def debuggers() -> dict[str, str]:
    """Debian's gdb for all architectures, and the newest one that can be had."""
    newest = Path(sys.executable).parent / "gdb"
    return {"gdb-multiarch": "gdb-multiarch", "newest gdb": str(newest)}


@dataclass(frozen=True)
class Server:
    """A running server: its port and everything it printed up to listening."""

    port: int
    printed: list[str]
    process: subprocess.Popen[str]

    @property
    def file_command(self) -> str:
        """The `file ...` line the server suggests."""
        return next(line for line in self.printed if line.startswith("file "))


@contextlib.contextmanager
def serve(dump: Path | Sequence[Path], *options: str) -> Iterator[Server]:
    """Run the server on a dump while the block runs; a traceback in its log fails the test."""
    parts = [dump] if isinstance(dump, Path) else dump
    files = [argument for part in parts for argument in ("-f", str(part))]
    command = [sys.executable, "-m", "kdump_gdbserver.cli.main", *files, "-p", "0", *options]
    last_line = "target remote" if "-j" in options else "source "
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            printed: list[str] = []
            for line in process.stdout:
                printed.append(line.rstrip("\n"))
                if line.startswith(last_line):
                    break
            else:
                assert process.stderr is not None
                pytest.fail(f"server did not start: {process.stderr.read()}")
            yield Server(int(printed[0].rsplit(" ", 1)[1]), printed, process)
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=SECONDS)
    assert "Traceback" not in errors


# What no user should ever have to see.
# From gdb 14 on the absence of a source file, which users do not always have, is a "warning: 19\t";
# a check-out may be newer than the programs of a dump that was made before.
_NO_SOURCE = re.compile(
    r"^warning: (\d+\t.*: No such file or directory|Source file is more recent than executable\.)$",
    re.MULTILINE,
)
_UGLY = ("Traceback (most recent", "Python Exception", "warning:", "?? ()", "corrupt stack")


def gdb(
    server: Server | None,
    *commands: str,
    before: Sequence[str] = (),
    ugly: bool = False,
    patient: bool = True,
    program: str = "gdb",
) -> str:
    """Run gdb in batch mode: `before`, connect, `commands`; return all it printed.

    Unless `ugly` is set, warnings, tracebacks and nameless frames fail the test. A `patient`
    gdb waits longer for an answer than by default, for tests that share the processor.
    """
    connect = [f"target remote localhost:{server.port}"] if server else []
    arguments = [find_program(program), "-nx", "-q", "-batch", "-iex", "set width 0"]
    arguments += ["-iex", "set debuginfod enabled off"]
    if "KDUMP_GDBSERVER_DEBROOT" in os.environ:  # packages unpacked, as scripts/env.sh says
        unpacked = f"{os.environ['KDUMP_GDBSERVER_DEBROOT']}/usr/lib/debug"
        arguments += ["-iex", f"set debug-file-directory /usr/lib/debug:{unpacked}"]
    if patient:
        arguments += ["-iex", f"set remotetimeout {SECONDS}"]
    for command in (*before, *connect, *commands):
        arguments += ["-ex", command]
    done = subprocess.run(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_GDB_SECONDS,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if not ugly:
        seen = _NO_SOURCE.sub("", done.stdout)
        for mark in _UGLY:
            assert mark not in seen, f"gdb printed {mark!r}:\n{done.stdout}"
    return done.stdout


def frames(backtrace: str) -> list[str]:
    """Return the function names of a printed backtrace, innermost first."""
    return re.findall(r"^#\d+\s+(?:0x[0-9a-f]+ (?:\[PAC\] )?in )?(\S+) \(", backtrace, re.MULTILINE)
