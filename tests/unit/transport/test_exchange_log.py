"""The log of exchanges: entries under test as data, not as text."""

from __future__ import annotations

import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import MOST_MALFORMED, ExchangeLog
from tests.support.sessions import Debugger, packet, thread_of, view_of


def logged(*payloads: bytes, enabled: bool = True) -> list[dict[str, object]]:
    """Return the entries that asking these packets leaves."""
    view = view_of({0x1000: bytes(range(256))}, [thread_of(1, {"rip": 5})])
    with capture_logs() as entries:
        logger = structlog.get_logger().bind(client="127.0.0.1:1")
        debugger = Debugger(view, logger, enabled)
        for payload in payloads:
            debugger.ask(payload)
    return [dict(entry) for entry in entries]


def test_an_exchange_has_request_reply_size_and_time() -> None:
    (entry,) = logged(b"m1000,4")
    microseconds = entry.pop("microseconds")
    assert isinstance(microseconds, int)
    assert 0 <= microseconds < 10_000_000
    assert entry == {
        "client": "127.0.0.1:1",
        "event": "rsp",
        "log_level": "debug",
        "request": "m1000,4",
        "reply": "00010203",
        "reply_bytes": 8,
    }


def test_each_packet_has_an_entry_in_order() -> None:
    entries = logged(b"qC", b"unheard-of", b"m0,4", b"k")
    assert [(entry["request"], entry["reply"]) for entry in entries] == [
        ("qC", "QC1"),
        ("unheard-of", ""),
        ("m0,4", "E0e"),
        ("k", None),
    ]
    assert entries[-1]["reply_bytes"] == 0


def test_long_packets_are_cut_and_their_length_told() -> None:
    (entry,) = logged(b"m1000,100")
    assert entry["reply_bytes"] == 512
    assert str(entry["reply"]).endswith("... (512 bytes)")
    assert len(str(entry["reply"])) < 200


def test_nothing_is_logged_when_it_is_off() -> None:
    assert logged(b"qC", b"m0,4", enabled=False) == []


def test_a_packet_that_cannot_be_taken_is_a_warning_even_then() -> None:
    for enabled in (True, False):
        debugger = Debugger(view_of(), structlog.get_logger(), enabled)
        with capture_logs() as entries:
            debugger.connection.receive(b"$qC#00")
        assert entries == [
            {
                "event": "malformed packet",
                "log_level": "warning",
                "reason": "checksum is b4, packet says b'00'",
            }
        ]


@given(st.binary(max_size=200), st.none() | st.binary(max_size=200))
def test_any_bytes_are_shown_in_printable_ascii(request: bytes, reply: bytes | None) -> None:
    with capture_logs() as entries:
        ExchangeLog(structlog.get_logger(), True).exchange(request, reply, 1999)
    (entry,) = entries
    assert entry["microseconds"] == 1
    assert (reply is None) == (entry["reply"] is None)
    for text in (entry["request"], entry["reply"] or ""):
        assert text.isascii()
        assert not text or text.isprintable()


def test_what_is_shown_can_be_told_apart() -> None:
    """A backslash of the packet is not one of the log's."""
    with capture_logs() as entries:
        for request in (b"\\n", b"\n"):
            ExchangeLog(structlog.get_logger(), True).exchange(request, b"", 0)
    assert [entry["request"] for entry in entries] == ["\\\\n", "\\n"]


def test_requests_that_arrive_together_are_logged_apart() -> None:
    debugger = Debugger(view_of(), structlog.get_logger(), True)
    with capture_logs() as entries:
        debugger.connection.receive(packet(b"qC") + packet(b"T1"))
    assert [entry["request"] for entry in entries] == ["qC", "T1"]


def test_a_flood_of_malformed_packets_does_not_fill_the_log() -> None:
    with capture_logs() as entries:
        log = ExchangeLog(structlog.get_logger(), False)
        for _ in range(10 * MOST_MALFORMED):
            log.malformed("checksum")
    assert [entry["event"] for entry in entries] == ["malformed packet"] * MOST_MALFORMED + [
        "this client's further malformed packets are not logged"
    ]
