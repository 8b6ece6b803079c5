"""Long monitor output, `info os` tables and the memory map."""

from __future__ import annotations

import dataclasses
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

import pytest
import structlog
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp import rendering
from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.errors import FaultReason, InputError, MemoryFault
from kdump_gdbserver.ports.monitor import MonitorCommand
from kdump_gdbserver.ports.os_tables import OsTable
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import GDB, Debugger, packet, sum_of, view_of

LINES = [f"{number}: #$}}* é\ud800" for number in range(2000)]
TEXT = "".join(line.replace("\ud800", r"\ud800") + "\n" for line in LINES)


class FakeMonitor:
    """Monitor commands of all kinds; implements `ports.monitor.Monitor`."""

    def __init__(self) -> None:
        self.printed = 0

    @property
    def commands(self) -> Sequence[MonitorCommand]:
        runs = (self.lines, self.endless, self.nothing, self.bad, self.torn, self.bug)
        return [MonitorCommand(run.__name__, "", f"{run.__name__} of it", run) for run in runs]

    def lines(self, arguments: Sequence[str]) -> Iterator[str]:
        for line in LINES:
            self.printed += 1
            yield line

    def endless(self, arguments: Sequence[str]) -> Iterator[str | None]:
        for number in itertools.count():
            yield LINES[0] if number % 2 else None

    def nothing(self, arguments: Sequence[str]) -> Iterator[None]:
        yield None

    def bad(self, arguments: Sequence[str]) -> Iterator[str]:
        raise InputError("bad takes nothing")

    def torn(self, arguments: Sequence[str]) -> Iterator[str]:
        yield "before"
        raise MemoryFault(0x10, FaultReason.EXCLUDED)

    def bug(self, arguments: Sequence[str]) -> Iterator[str]:
        yield LINES[0]
        raise KeyError("a look-up of ours that fails")


def connection_of(monitor: FakeMonitor) -> Connection:
    session = view_of().open_session()
    session.monitor = monitor
    return Connection(lambda: session, ExchangeLog(structlog.get_logger(), False))


def command(text: str) -> bytes:
    return packet(b"qRcmd," + text.encode().hex().encode())


def frames(data: bytes) -> list[bytes]:
    """Return the payloads of frames, each checked."""
    found = re.findall(rb"\$([^#$]*)#([0-9a-f]{2})", data)
    assert b"".join(b"$%b#%b" % pair for pair in found) == data.replace(b"+", b"")
    assert all(sum_of(payload) == digits for payload, digits in found)
    return [payload for payload, _ in found]


def text_of(payloads: list[bytes]) -> str:
    """Return what LLDB prints of a monitor command's replies; the last one is OK."""
    *output, last = payloads
    assert last == b"OK"
    assert all(payload.startswith(b"O") for payload in output)
    return b"".join(bytes.fromhex(payload[1:].decode()) for payload in output).decode()


def rest_of(connection: Connection, data: bytes) -> bytes:
    while connection.busy:
        data += connection.more()
    return data


def as_lldb(connection: Connection) -> None:
    assert frames(connection.receive(packet(b"QThreadSuffixSupported"))) == [b"OK"]


def test_lldb_gets_long_output_in_parts_while_it_is_made() -> None:
    monitor = FakeMonitor()
    connection = connection_of(monitor)
    as_lldb(connection)
    data = connection.receive(command("lines"))
    assert 0 < monitor.printed < len(LINES)
    assert connection.busy
    assert text_of(frames(rest_of(connection, data))) == TEXT
    assert connection.more() == b""


def test_gdb_gets_output_in_one_packet_lest_it_leaves_some_unread() -> None:
    connection = connection_of(FakeMonitor())
    (reply,) = frames(rest_of(connection, connection.receive(command("lines"))))
    assert bytes.fromhex(reply.decode()).decode() == TEXT
    assert frames(rest_of(connection, connection.receive(command("nothing")))) == [b"OK"]


@pytest.mark.parametrize("lldb", [False, True])
def test_output_that_takes_long_can_be_interrupted(lldb: bool) -> None:
    connection = connection_of(FakeMonitor())
    if lldb:
        as_lldb(connection)
    connection.receive(command("endless"))
    for _ in range(20):
        connection.more()
        assert connection.busy
    connection.receive(b"\x03")
    assert frames(rest_of(connection, b""))[-1] == b"E04"
    assert frames(connection.receive(packet(b"qC"))) == [b"QC1"]


def test_what_one_packet_may_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_OUTPUT", 1000)
    connection = connection_of(FakeMonitor())
    (reply,) = frames(rest_of(connection, connection.receive(command("lines"))))
    lines = bytes.fromhex(reply.decode()).decode().splitlines()
    assert "\n".join(lines[:-1]) + "\n" == TEXT[: len("\n".join(lines[:-1])) + 1]
    assert lines[-1] == "(the rest is left out: this is more than a reply may hold)"
    assert len(reply) < 4000


@pytest.mark.parametrize("lldb", [False, True])
def test_packets_that_come_during_output_are_answered_after_it_in_order(lldb: bool) -> None:
    connection = connection_of(FakeMonitor())
    if lldb:
        as_lldb(connection)
    data = rest_of(connection, connection.receive(command("lines") + packet(b"qC") + packet(b"T1")))
    assert frames(data)[-2:] == [b"QC1", b"OK"]
    data = connection.receive(command("endless"))
    data += connection.receive(packet(b"qC"))  # impatient: the rest was not waited for
    assert b"QC1" not in data
    connection.receive(b"\x03")
    assert frames(rest_of(connection, data))[-2:] == [b"E04", b"QC1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bad", "bad takes nothing\n"),
        ("torn", "before\ncannot read memory at 0x10: " + FaultReason.EXCLUDED.value + "\n"),
        ("none", "unknown command 'none'; try 'monitor help'\n"),
    ],
)
def test_what_goes_wrong_is_printed_and_the_session_goes_on(text: str, expected: str) -> None:
    connection = connection_of(FakeMonitor())
    (reply,) = frames(connection.receive(command(text)))
    assert bytes.fromhex(reply.decode()).decode() == expected
    assert not connection.busy
    as_lldb(connection)
    assert text_of(frames(connection.receive(command(text)))) == expected
    assert not connection.busy


@pytest.mark.parametrize("lldb", [False, True])
def test_a_look_up_of_ours_that_fails_is_not_taken_for_an_unknown_command(lldb: bool) -> None:
    connection = connection_of(FakeMonitor())
    if lldb:
        as_lldb(connection)
    with capture_logs() as entries:
        *output, last = frames(rest_of(connection, connection.receive(command("bug"))))
    assert last == b"E05"
    assert output == []
    assert [entry["event"] for entry in entries] == ["internal error: this is a bug"]
    assert frames(connection.receive(packet(b"qC"))) == [b"QC1"]


def test_help_has_the_views_commands_and_the_connections() -> None:
    connection = connection_of(FakeMonitor())
    as_lldb(connection)
    text = text_of(frames(connection.receive(command("help"))))
    names = [line.split()[0] for line in text.splitlines()]
    assert names[0] == "lines"
    assert names == [*(each.name for each in FakeMonitor().commands), "log", "stats", "help"]


def test_tables_about_the_system_are_listed_and_read() -> None:
    rows = [("1", "init <&>"), ("2", "kthreadd\x01")]
    table = OsTable(
        "processes", "Processes", "Table of processes", ("pid", "command"), lambda: rows
    )
    debugger = Debugger(dataclasses.replace(view_of(), os_tables=(table,)))
    debugger.start(*GDB)

    def items(annex: bytes) -> list[dict[str | None, str | None]]:
        document = ET.fromstring(debugger.object(b"osdata", annex))
        assert document.tag == "osdata"
        return [{column.get("name"): column.text for column in item} for item in document]

    assert items(b"") == [
        {"Type": "processes", "Description": "Table of processes", "Title": "Processes"}
    ]
    assert items(b"processes") == [
        {"pid": "1", "command": "init <&>"},
        {"pid": "2", "command": "kthreadd?"},
    ]
    assert debugger.data(b"qXfer:osdata:read:cpus:0,100")[:2] == b"E."


def test_the_memory_map_has_regions_and_holes() -> None:
    kernel = fake_kernel()
    debugger = Debugger(open_kernel_view(kernel.dump()))
    text = kernel.symbols["_text"]

    def region(address: int) -> dict[bytes, bytes]:
        reply = debugger.data(b"qMemoryRegionInfo:%x" % address)
        return dict(field.split(b":", 1) for field in reply.split(b";") if field)

    mapped = region(text + 8)
    start, size = int(mapped[b"start"], 16), int(mapped[b"size"], 16)
    assert start <= text + 8 < start + size
    assert b"r" in mapped[b"permissions"]
    hole = region(text + 0x800000)
    start, size = int(hole[b"start"], 16), int(hole[b"size"], 16)
    assert start <= text + 0x800000 < start + size
    assert b"permissions" not in hole
    assert debugger.data(b"qMemoryRegionInfo:zz")[:1] == b"E"


def test_a_search_passes_over_great_holes_by_the_memory_map() -> None:
    """A walk through 2**63 addresses page by page would not end."""
    kernel = fake_kernel()
    debugger = Debugger(open_kernel_view(kernel.dump()))
    ask = b"qSearch:memory:%x;%x;%b"
    text = kernel.symbols["_text"]
    found = debugger.data(ask % (text - (1 << 46), 1 << 47, b"\x90\x90\x90"))
    assert found == b"1,%x" % text
