"""gdb, LLDB and a script at the same time on one server: each sees what it sees alone."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable
from pathlib import Path

from tests.support.gdb_session import Server, gdb, serve
from tests.support.lldb_session import lldb
from tests.support.tcp import TcpClient

SAMPLE = Path(__file__).parent.parent / "sample"
VMCORE, VMLINUX = SAMPLE / "toy-vmcore", SAMPLE / "toy-vmlinux"
TEXT = int(json.loads((SAMPLE / "facts.json").read_text())["symbols"]["_stext"], 16)


def with_gdb(server: Server) -> str:
    """Another thread than the first, and memory of it."""
    looks = (
        "thread 2",
        "bt",
        "x/64xg $sp",
        "p $pc",
        "thread 1",
        "bt",
        "info threads",
        "p linux_banner",
    )
    return gdb(server, *looks, before=[f"file {VMLINUX}"])


def with_lldb(server: Server) -> str:
    looks = ("thread select 2", "thread backtrace all", "memory read -s8 -c64 -fx `$sp`")
    text = lldb(server, *looks, file=VMLINUX)
    # Which thread was selected is printed when LLDB gets round to it.
    return "\n".join(sorted(set(text.splitlines())))


def with_a_script(server: Server) -> str:
    """Threads and kinds of addresses change to and fro, and acknowledgements are sent."""
    client = TcpClient(server.port)
    heard = []
    with client.socket:
        for number in range(150):
            ask = [
                b"Hg%x" % (1 + number % 2),
                b"g",
                b"Qqemu.PhyMemMode:%d" % (number % 3 == 0),
                b"m%x,40" % (0x1000 * number if number % 3 == 0 else TEXT + 8 * number),
                b"qC",
            ]
            heard += [client.ask(each).decode() for each in ask]
    return "\n".join(heard)


def test_gdb_lldb_and_a_script_side_by_side() -> None:
    kinds: list[Callable[[Server], str]] = [with_gdb, with_lldb, with_a_script]
    with serve(VMCORE) as server:
        alone = [kind(server) for kind in kinds]
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            together = [
                (number, pool.submit(kind, server))
                for _ in range(3)
                for number, kind in enumerate(kinds)
            ]
            for number, result in together:
                assert result.result() == alone[number]
    assert len(set(alone[2].splitlines())) > 100
    assert "entry_SYSCALL_64" in alone[0]
    assert "entry_SYSCALL_64" in alone[1]
