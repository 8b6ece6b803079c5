"""A real gdb, with its own limit of 2 s for an answer, on a dump that takes longer to open."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gdb_session import SECONDS, frames, gdb

pytestmark = pytest.mark.usefixtures("each_debugger")

SAMPLE = Path(__file__).parent.parent / "sample"
SLOW_SERVER = """
import sys, time
from kdump_gdbserver.cli import container
from kdump_gdbserver.cli.main import main
open_view = container._kernel_view
def open_slowly(*arguments):
    time.sleep(3)
    return open_view(*arguments)
container._kernel_view = open_slowly
main(["-f", sys.argv[1], "-p", "0"])
"""


@contextlib.contextmanager
def slow_server() -> Iterator[int]:
    """Serve the sample, slowly; yields the port."""
    command = [sys.executable, "-c", SLOW_SERVER, str(SAMPLE / "toy-vmcore")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rsplit(" ", 1)[1])
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def test_gdb_waits_for_a_dump_that_is_slow_to_open() -> None:
    """Otherwise it says its first packet twice, and is out of step from then on."""
    with slow_server() as port:
        text = gdb(
            None, f"file {SAMPLE / 'toy-vmlinux'}", "show remotetimeout",
            f"target remote localhost:{port}", "bt", "info threads", patient=False,
        )  # fmt: skip
    assert "target to respond is 2." in text
    assert frames(text)[0] == "crash_setup_regs"
    assert frames(text)[-1] == "entry_SYSCALL_64"
    assert "Thread 1.2 (CPU #1 idle)" in text
