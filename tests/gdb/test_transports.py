"""A real gdb over each transport, on the sample dump in the repository."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gdb_session import SECONDS, frames, gdb, serve

SAMPLE = Path(__file__).parent.parent / "sample"
VMCORE = SAMPLE / "toy-vmcore"
VMLINUX = SAMPLE / "toy-vmlinux"
SERVER = (sys.executable, "-m", "kdump_gdbserver.cli.main", "-f", str(VMCORE))
# Started with the socket as descriptor 3, as systemd does it.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "kdump_gdbserver.cli.main", *sys.argv[2:]])
"""


@contextlib.contextmanager
def started(*command: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return line


def test_gdb_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "dump.sock"
    with started(*SERVER, "--unix", str(path)) as process:
        assert first_line(process) == f"Waiting for incoming connection on {path}\n"
        mode = path.lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        for _ in range(2):
            text = gdb(None, f"file {VMLINUX}", f"target remote {path}", "bt", "info threads")
            assert frames(text)[0] == "crash_setup_regs"
            assert frames(text)[-1] == "entry_SYSCALL_64"
            assert "Thread 1.2 (CPU #1 idle)" in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert not path.exists()


def test_gdb_starts_the_server_itself() -> None:
    command = " ".join(SERVER)
    text = gdb(
        None, f"file {VMLINUX}", f"target remote | {command} --stdio", "bt", "thread 2", "detach"
    )
    assert frames(text)[0] == "crash_setup_regs"
    assert "[Switching to thread 2 (Thread 1.2)]" in text
    assert "Waiting for incoming" not in text


def test_standard_output_has_nothing_but_the_protocol() -> None:
    """The whole of it: an acknowledgement and a frame for each packet; then it ends."""
    done = subprocess.run(
        [*SERVER, "-v", sys.executable, "--stdio", "-d"],
        input=b"$qC#b4+$T1#85+$D#44",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout == b"+$QC1#c5+$OK#9a+$OK#9a"
    assert b"is not the dumped kernel" in done.stderr
    assert b"client connected" in done.stderr


@pytest.mark.parametrize("last", [b"", b"$k#6b", b"$m100"])
def test_standard_input_at_its_end_ends_the_server(last: bytes) -> None:
    done = subprocess.run(
        [*SERVER, "--stdio"],
        input=b"$qC#b4" + last,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"+$QC1#c5")


def test_what_cannot_be_served_on_standard_output_is_one_line_on_standard_error() -> None:
    done = subprocess.run(
        [*SERVER[:3], "-f", "/nonexistent", "--stdio"],
        input=b"$qC#b4",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1


def test_gdb_over_a_socket_that_was_opened_beforehand() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        number = listener.fileno()
        command = (sys.executable, "-c", AS_SYSTEMD, str(number), "-f", str(VMCORE))
        environment = {**os.environ, "LISTEN_FDS": "1"}
        with started(*command, pass_fds=(number,), env=environment) as process:
            assert "opened by systemd" in first_line(process)
            text = gdb(None, f"file {VMLINUX}", f"target remote localhost:{port}", "bt 1")
            assert "crash_setup_regs" in text


def test_localhost_is_ipv4_and_ipv6() -> None:
    with serve(VMCORE) as server:
        for host in ("127.0.0.1", "[::1]"):
            if ":" in host and not has_ipv6():
                continue
            text = gdb(None, f"file {VMLINUX}", f"target remote {host}:{server.port}", "bt 1")
            assert "crash_setup_regs" in text


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_listening_for_other_machines_is_warned_about() -> None:
    with started(*SERVER, "-a", "0.0.0.0", "-p", "0") as process:
        assert process.stderr is not None
        warning = process.stderr.readline()
        assert warning.startswith("kdump-gdbserver: warning: listening on 0.0.0.0: ")
        assert "no authentication" in warning
        assert "ssh" in warning


def test_a_silent_client_is_dropped_when_asked() -> None:
    with serve(VMCORE, "--idle-timeout", "0.3", "--once") as server:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as client:
            assert client.recv(10) == b""
            assert time.monotonic() - began >= 0.3
        assert server.process.wait(SECONDS) == 0


def takes_slowly(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Take answers from a pipe, little by little, for twice the limit; fail if it ends.

    False where this thread was held up for so long that the client was rightly taken for idle.
    """
    assert process.stdout is not None
    for _ in range(8):
        began = time.monotonic()
        for _ in range(5):  # a page of a pipe is free when all of it has been read
            if not process.stdout.read(1000):
                assert time.monotonic() - began >= limit, "a client that takes answers was dropped"
                return False
            time.sleep(limit / 20)
        if time.monotonic() - began >= limit:
            return False
    return True


def test_a_client_on_a_pipe_that_takes_no_answers_is_dropped_when_asked() -> None:
    """The pipe is shared with others, who would be surprised by one that does not block."""
    for limit in (0.5, 2.0, 10.0):  # the longer ones on a machine that is very busy
        command = (*SERVER, "--stdio", "--idle-timeout", f"{limit}")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"$qC#b4" * 15_000)
            process.stdin.flush()
            taken = takes_slowly(process, limit)
            assert os.get_blocking(process.stdout.fileno())
            assert process.wait(SECONDS) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
        if taken:
            return
    pytest.fail("this test was held up for 10 seconds")
