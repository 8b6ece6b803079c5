"""Long monitor output, `info os` tables and the memory map."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

import structlog

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.exchange_log import ExchangeLog
from kdump_gdbserver.application.kernel_view import open_kernel_view
from kdump_gdbserver.domain.errors import FaultReason, InputError, MemoryFault
from kdump_gdbserver.ports.monitor import MonitorCommand
from kdump_gdbserver.ports.os_tables import OsTable
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import GDB, Debugger, packet, sum_of, view_of

LINES = [f"{number}: #$}}* é\ud800" for number in range(2000)]


class FakeMonitor:
    """Monitor commands of all kinds; implements `ports.monitor.Monitor`."""

    commands: Sequence[MonitorCommand] = (MonitorCommand("lines", "", "many lines"),)

    def __init__(self) -> None:
        self.printed = 0

    def run(self, name: str, arguments: Sequence[str]) -> Iterator[str]:
        if name == "lines":
            for line in LINES:
                self.printed += 1
                yield line
        elif name == "bad":
            raise InputError("bad takes nothing")
        elif name == "torn":
            yield "before"
            raise MemoryFault(0x10, FaultReason.EXCLUDED)
        else:
            raise LookupError(name)


def connection_of(monitor: FakeMonitor) -> Connection:
    session = view_of().open_session()
    session.monitor = monitor
    return Connection(session, ExchangeLog(structlog.get_logger(), False))


def command(text: str) -> bytes:
    return packet(b"qRcmd," + text.encode().hex().encode())


def frames(data: bytes) -> list[bytes]:
    """Return the payloads of frames, each checked."""
    found = re.findall(rb"\$([^#$]*)#([0-9a-f]{2})", data)
    assert b"".join(b"$%b#%b" % pair for pair in found) == data.replace(b"+", b"")
    assert all(sum_of(payload) == digits for payload, digits in found)
    return [payload for payload, _ in found]


def text_of(payloads: list[bytes]) -> str:
    assert all(payload.startswith(b"O") for payload in payloads)
    return b"".join(bytes.fromhex(payload[1:].decode()) for payload in payloads).decode()


def test_long_output_comes_in_parts_while_it_is_made() -> None:
    monitor = FakeMonitor()
    connection = connection_of(monitor)
    data = connection.receive(command("lines"))
    assert 0 < monitor.printed < len(LINES)
    assert connection.busy
    while connection.busy:
        data += connection.more()
    *output, last = frames(data)
    assert last == b"OK"
    assert text_of(output) == "".join(line.replace("\ud800", "?") + "\n" for line in LINES)
    assert connection.more() == b""


def test_packets_that_come_during_output_are_answered_after_it_in_order() -> None:
    connection = connection_of(FakeMonitor())
    data = connection.receive(command("lines") + packet(b"qC") + packet(b"T1"))
    while connection.busy:
        data += connection.more()
    assert frames(data)[-3:] == [b"OK", b"QC1", b"OK"]
    data = connection.receive(command("lines"))
    data += connection.receive(packet(b"qC"))  # impatient: the rest was not waited for
    while connection.busy:
        data += connection.more()
    assert frames(data)[-2:] == [b"OK", b"QC1"]
    assert text_of(frames(data)[:-2]).count("\n") == len(LINES)


def test_what_goes_wrong_is_printed_and_the_session_goes_on() -> None:
    connection = connection_of(FakeMonitor())
    for text, expected in (
        ("bad", "bad takes nothing\n"),
        ("torn", "before\ncannot read memory at 0x10: " + FaultReason.EXCLUDED.value + "\n"),
        ("none", "unknown command 'none'; 'monitor help' lists those there are\n"),
    ):
        *output, last = frames(connection.receive(command(text)))
        assert (text_of(output), last) == (expected, b"OK")
        assert not connection.busy


def test_help_has_the_views_commands_and_the_connections() -> None:
    *output, _ = frames(connection_of(FakeMonitor()).receive(command("help")))
    names = [line.split()[0] for line in text_of(output).splitlines()]
    assert names == ["lines", "log", "stats", "help"]


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
