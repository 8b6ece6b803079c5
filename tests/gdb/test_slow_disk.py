"""A real gdb on a dump whose disk stalls: what it shows is late, and right.

gdb asks again after two seconds without an answer and goes on without one after six. From
then on it would take each answer for that to the next request, and show wrong memory.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gdb_session import SECONDS, Server, gdb

SAMPLE = Path(__file__).parent.parent / "sample"
# A server whose reads of the dump wait for as many seconds as a file says, each file once.
STALLING = """
import os, sys, time
read, note = os.pread, sys.argv.pop(1)
def stalled(*arguments):
    try:
        seconds = float(open(note).read())
        os.unlink(note)
    except OSError:
        seconds = 0
    time.sleep(seconds)
    return read(*arguments)
os.pread = stalled
from kdump_gdbserver.cli.main import main
sys.exit(main())
"""


@contextlib.contextmanager
def stalling(note: Path) -> Iterator[Server]:
    command = [sys.executable, "-c", STALLING, str(note), "-f", str(SAMPLE / "toy-vmcore")]
    with subprocess.Popen(
        # In the sandbox it could not look at the note.
        [*command, "-p", "0", "--no-sandbox"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Server(int(process.stdout.readline().rsplit(" ", 1)[1]), [], process)
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=SECONDS)
    assert "Traceback" not in errors


def words(text: str) -> list[str]:
    return re.findall(r"^(0x.*:\t0x.*|\$\d+ = .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("seconds", [3, 7], ids=["gdb asks again", "gdb would give up"])
def test_gdb_stays_in_step_with_a_disk_that_stalls(tmp_path: Path, seconds: int) -> None:
    note = tmp_path / "note"
    looks = [
        command
        for number in range(6)
        for command in ("maint flush dcache", f"x/2xg $sp + {64 * number}")
    ] + ["p $pc", "find /g1 $sp, +64, *(long *) $sp"]
    stall = f"python open({str(note)!r}, 'w').write('{seconds}')"
    with stalling(note) as server:
        symbols = [f"file {SAMPLE / 'toy-vmlinux'}"]
        before = gdb(server, *looks, before=symbols)
        after = gdb(server, stall, *looks, before=symbols, patient=False)
    assert not note.exists(), "no read stalled"
    assert len(words(before)) > 6
    assert words(after) == words(before)
    assert "Ignoring packet error" not in after
