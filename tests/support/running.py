"""A server in a process of its own, with a client on a real socket."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.tcp import HOST, TcpClient, wait_until

SERVER = (sys.executable, "-m", "kdump_gdbserver.cli.main", "-a", HOST, "-p", "0")


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.client = TcpClient(port)

    def serves(self) -> bool:
        """Whether it still answers."""
        return self.client.ask(b"qAttached") == b"1"

    @property
    def worker(self) -> int:
        """The process that serves the dump."""
        return worker_of(self.process.pid)

    def sockets(self) -> int:
        """Return how many sockets it has open."""
        count = 0
        for file in Path(f"/proc/{self.worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += str(file.readlink()).startswith("socket:")
        return count

    def resident(self) -> int:
        """Return how much memory it has resident, in KiB."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kib)

    def read(self, address: int) -> bytes | None:
        """Return 16 bytes, None when they cannot be read."""
        reply = self.client.ask(b"m%x,10" % address)
        return None if reply[:1] == b"E" else bytes.fromhex(reply.decode())


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def worker_of(pid: int) -> int:
    """Return the process in which a server serves its dump, when there is one."""
    wait_until(lambda: bool(children_of(pid)), "the worker")
    (worker,) = children_of(pid)
    return worker


@contextlib.contextmanager
def started(command: Sequence[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program; when the block ends, so does it."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    with subprocess.Popen(command, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def running(dump: str, *options: str, **streams: Any) -> Iterator[Running]:
    with started([*SERVER, "-f", dump, *options], **streams) as process:
        assert process.stdout is not None
        server = Running(process, int(process.stdout.readline().rsplit(" ", 1)[1]))
        with server.client.socket:
            yield server
