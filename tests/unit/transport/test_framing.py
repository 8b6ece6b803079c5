"""Framing: bytes in, events out, however the bytes are cut and whatever they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.wire import framing
from kdump_gdbserver.adapters.rsp_tcp.wire.checksum import checksum
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import (
    MAX_PAYLOAD,
    Event,
    Malformed,
    Packet,
    PacketReader,
    Signal,
    escape,
    frame,
    unescape,
)
from tests.support.strategies import splits

SMALL_LIMIT = 24
TOO_LONG = Malformed(f"packet longer than {SMALL_LIMIT} bytes")

# What a stream may hold: good packets, spoilt ones, signals, noise.
pieces = st.one_of(
    st.binary(max_size=SMALL_LIMIT // 2).map(lambda data: frame(escape(data))),
    st.binary(max_size=2 * SMALL_LIMIT).map(lambda data: frame(escape(data))),
    st.sampled_from([b"+", b"-", b"\x03", b"$", b"#", b"$g#68", b"$g#zz", b"$g#6", b"}", b"$#00"]),
    st.binary(max_size=8),
)
streams = st.lists(pieces, max_size=8).map(b"".join)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_PAYLOAD", SMALL_LIMIT)


def feed(parts: list[bytes], verify: bool = True) -> list[Event]:
    reader = PacketReader()
    reader.verify_checksums = verify
    return [event for part in parts for event in reader.feed(part)]


def three_ways(stream: bytes) -> list[Event]:
    """Return the events of a stream fed whole, checked to be those of it byte by byte."""
    whole = feed([stream])
    assert whole == feed([stream[i : i + 1] for i in range(len(stream))])
    return whole


@given(streams.flatmap(lambda stream: st.tuples(st.just(stream), splits(stream))), st.booleans())
def test_any_split_of_any_stream_gives_the_same_events(
    small_limit: None, given_: tuple[bytes, list[bytes]], verify: bool
) -> None:
    stream, parts = given_
    assert stream == b"".join(parts)
    assert feed([stream], verify) == feed(parts, verify)


@given(st.binary(max_size=300), st.booleans())
def test_any_garbage_gives_events(data: bytes, verify: bool) -> None:
    for event in feed([data], verify):
        assert isinstance(event, Packet | Malformed | Signal)


@given(st.lists(st.binary(max_size=64)))
def test_what_is_framed_comes_out_again(payloads: list[bytes]) -> None:
    stream = b"".join(frame(escape(payload)) for payload in payloads)
    assert [Packet(payload) for payload in payloads] == feed([stream])


@given(st.binary(max_size=64), st.binary(max_size=20).filter(lambda tail: b"$" not in tail))
def test_what_follows_a_packet_does_not_change_it(payload: bytes, tail: bytes) -> None:
    events = feed([frame(escape(payload)) + tail])
    assert Packet(payload) == events[0]
    assert all(isinstance(event, Signal) for event in events[1:])


@given(st.binary())
def test_escaping_is_undone(data: bytes) -> None:
    escaped = escape(data)
    assert data == unescape(escaped)
    assert not set(b"#$*") & set(escaped)


def test_escapes_are_the_manuals() -> None:
    assert escape(b"#$*}") == b"}\x03}\x04}\x0a}]"
    assert unescape(b"a}") == b"a}"  # cut off: nothing to undo
    assert unescape(b"}\n}\xdf") == b"*\xff"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 513, 16_383, 16_384, 100_000])
def test_the_checksum_is_the_sum_modulo_256(size: int) -> None:
    data = random.Random(size).randbytes(size)
    for kind in (bytes, bytearray, memoryview):
        assert sum(data) % 256 == checksum(kind(data))
    assert 0xFF * size % 256 == checksum(b"\xff" * size)


def test_a_frame_is_the_manuals() -> None:
    assert frame(b"OK") == b"$OK#9a"
    assert frame(b"") == b"$#00"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"$g#67", [Packet(b"g")]),
        (b"$#00", [Packet(b"")]),
        (b"+$g#67-", [Signal.ACK, Packet(b"g"), Signal.NACK]),
        (b"\x03\x03", [Signal.INTERRUPT, Signal.INTERRUPT]),
        (b"$\x03+-#33", [Malformed("checksum is 5b, packet says b'33'")]),
        (b"$\x03+-#5b", [Packet(b"\x03+-")]),
        (b"junk$g#67junk", [Packet(b"g")]),
        (b"$G00$g#67", [Packet(b"g")]),  # the peer gave up a packet and began anew
        (b"$m0,4#zz$g#67", [Malformed("checksum is fd, packet says b'zz'"), Packet(b"g")]),
        (b"$g#+7$g#67", [Malformed("checksum is 67, packet says b'+7'"), Packet(b"g")]),
        (b"$G#4F", [Malformed("checksum is 47, packet says b'4F'")]),
        (b"$J#4A", [Packet(b"J")]),
        (b"$X}\x03#d8", [Packet(b"X#")]),
        (b"$g#6", []),
        (b"$g", []),
        (b"#67", []),
    ],
)
def test_streams(stream: bytes, expected: list[Event]) -> None:
    assert expected == three_ways(stream)


def test_checksums_are_not_looked_at_when_they_need_not_be_right() -> None:
    assert [Packet(b"g"), Packet(b"p1")] == feed([b"$g#00$p1#zz"], verify=False)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"$" + b"a" * SMALL_LIMIT + b"#18", [Packet(b"a" * SMALL_LIMIT)]),
        (b"$" + b"a" * SMALL_LIMIT, []),
        (b"$" + b"a" * SMALL_LIMIT + b"b", [TOO_LONG]),
        (b"$" + b"a" * (SMALL_LIMIT + 1) + b"#79$g#67", [TOO_LONG, Packet(b"g")]),
        (b"$" + b"a" * 500 + b"#48+$g#67", [TOO_LONG, Signal.ACK, Packet(b"g")]),
        (b"$" + b"a" * 500 + b"+-\x03#4", [TOO_LONG]),
        (b"$" + b"a" * 500 + b"$g#67", [TOO_LONG, Packet(b"g")]),
        (b"$" + b"$a" * 500 + b"$g#67", [Packet(b"g")]),
    ],
)
def test_packets_about_the_limit(small_limit: None, stream: bytes, expected: list[Event]) -> None:
    assert expected == three_ways(stream)


@pytest.mark.parametrize(
    "attack",
    [b"$", b"$$", b"$a", b"a", b"#", b"}", b"+", b"$a#", b"$}#0"],
    ids=repr,
)
@pytest.mark.parametrize("chunk", [16411])
def test_no_stream_makes_the_reader_hold_more_than_a_packet(attack: bytes, chunk: int) -> None:
    reader = PacketReader()
    stream = attack * (chunk // len(attack))
    opening = b"$" + b"a" * 1000
    reader.feed(opening)
    for _ in range(2 * MAX_PAYLOAD // chunk):
        reader.feed(stream)
        assert len(reader._buffer) <= MAX_PAYLOAD + 4
    # and it still understands
    reader.feed(b"#00")
    assert [Packet(b"g")] == reader.feed(b"$g#67")[-1:]
