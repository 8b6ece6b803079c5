"""Every packet that gdb sends in a session gets an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gdb_session import gdb, serve
from tests.support.remote_log import exchanges

pytestmark = pytest.mark.usefixtures("each_debugger")

SAMPLE = Path(__file__).parent.parent / "sample"
LOAD = [f"file {SAMPLE / 'toy-vmlinux'}", "set debug remote 1"]
# What a user does in a session, and then some.
SESSION = [
    "info threads",
    "thread apply all bt",
    "info registers",
    "p linux_banner",
    "x/4gx 0x1000",
    "find /b &linux_banner, +100, 0x31",
    "info os",
    "info auxv",
    "info sharedlibrary",
    "info proc mappings",
    "compare-sections .rodata",
    "tstatus",
    "monitor info",
    "stepi",
    "p $rax = 1",
    "set var *(int *)&linux_banner = 1",
    "hbreak *0xffffffff8a200503",
    "continue",
    "detach",
]


def test_no_packet_is_unanswered() -> None:
    with serve(SAMPLE / "toy-vmcore") as server:
        text = gdb(server, *SESSION, before=LOAD, ugly=True)
    found = exchanges(text)
    words = {packet.split(":")[0].split(",")[0] for packet, _ in found}
    assert {"qSupported", "QStartNoAckMode", "?", "qOffsets", "qXfer", "qRcmd"} <= words
    assert len(found) > 60
    assert [packet for packet, reply in found if reply is None] == []


def test_what_is_not_supported_gets_the_empty_reply() -> None:
    with serve(SAMPLE / "toy-vmcore") as server:
        text = gdb(server, *SESSION, before=LOAD, ugly=True)
    empty = {packet.split(":")[0] for packet, reply in exchanges(text) if reply == ""}
    assert empty <= {"vMustReplyEmpty", "qTStatus", "vCont?", "qExecAndArgs"}, empty
    assert "vMustReplyEmpty" in empty
