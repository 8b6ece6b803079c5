"""Run-length encoded memory: what the debugger expands is what was in memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.wire.checksum import checksum
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import escape, escape_some, frame, unescape
from kdump_gdbserver.adapters.rsp_tcp.wire.hex_digits import hex_digits
from kdump_gdbserver.adapters.rsp_tcp.wire.run_length import encode_binary, encode_memory, run

_HEX = "0123456789abcdef"
_PAGE = 4096


def expand(text: bytes) -> bytes:
    """Expand as the GDB manual says, refusing what it forbids."""
    out = bytearray()
    at = 0
    while at < len(text):
        if text[at] != ord("*"):
            out.append(text[at])
            at += 1
            continue
        count = text[at + 1]
        assert out, "nothing to repeat"
        assert 32 <= count <= 126, f"count {count} is not printable"
        assert count not in b"#$+-", f"count {chr(count)!r} is forbidden"
        out += out[-1:] * (count - 29)
        at += 2
    return bytes(out)


# Texts with runs of all lengths, also across what the encoder cuts runs into.
_runs = st.lists(st.tuples(st.sampled_from(_HEX), st.integers(1, 300)), max_size=30)
_texts = _runs.map(lambda runs: "".join(digit * count for digit, count in runs).encode())

# Memory of filled and mixed stretches, pages and odd lengths among them.
_stretch = st.tuples(
    st.one_of(st.sampled_from((0x00, 0xFF, 0xCC, 0x0F, 0x10)), st.integers(0, 255)),
    st.one_of(st.integers(0, 100), st.sampled_from((511, 512, 4095, 4096, 4097, 8192, 70000))),
)
_noise = st.integers(0, 5000).map(lambda size: random.Random(size).randbytes(size))
_memory = st.lists(
    st.one_of(_stretch.map(lambda part: bytes((part[0],)) * part[1]), _noise), max_size=8
).map(b"".join)


@given(_texts, st.sampled_from((512, 4096, 16384)))
@example(b"0" * 1000, 512)
@example(b"f" * 98 + b"0" * 98 + b"f" * 97, 4096)
def test_any_runs_of_digits_come_back(text: bytes, size: int) -> None:
    text = (text or b"12") * 2  # an even number of digits
    text *= 2 * size // len(text) + 1
    encoded = encode_memory(bytes.fromhex(text.decode()))
    assert expand(encoded) == text
    assert len(encoded) <= len(text)


@given(_memory)
@example(bytes(_PAGE))
@example(bytes(_PAGE) + b"\1")
@example(b"\1" + bytes(3 * _PAGE))
@example(b"\xff" * 9000)
@example(bytes(0x10000))
def test_any_memory_comes_back(data: bytes) -> None:
    encoded = encode_memory(data)
    assert expand(encoded) == data.hex().encode()
    assert len(encoded) <= 2 * len(data)


@given(_memory)
@example(bytes(_PAGE))
@example(b"#$}*" * 1000 + bytes(_PAGE) + b"*" * 5000)
@example(b"}" + b"\xff" * 9000 + b"}")
@example(b"\x22" * _PAGE + b"$" + b"\x00" * 600)
def test_any_memory_comes_back_as_binary_data(data: bytes) -> None:
    encoded = encode_binary(data)
    assert unescape(expand(encoded)) == data
    assert not set(encoded) & set(b"#$")
    assert len(encoded) <= len(escape(data))


@given(_memory)
def test_the_checksum_is_of_what_is_sent(data: bytes) -> None:
    encoded = encode_memory(data)
    assert frame(encoded) == b"$%b#%02x" % (encoded, sum(encoded) % 256)
    assert checksum(encoded) == sum(encoded) % 256


@given(st.binary(max_size=200), st.integers(0, 3))
def test_digits_are_those_of_python(data: bytes, cut: int) -> None:
    large = data * (20_000 // (len(data) or 1))
    for some in (data, large, large[cut:], large[: len(large) - cut]):
        assert hex_digits(some) == some.hex().encode()


@pytest.mark.parametrize("digit", _HEX)
def test_a_run_of_any_length(digit: str) -> None:
    for length in range(300):
        encoded = run(ord(digit), length)
        assert expand(encoded) == digit.encode() * length
        assert len(encoded) <= 3 * (length // 98) + 6


@pytest.mark.parametrize("byte", [0x11 * digit for digit in range(16)])
def test_pages_of_one_digit_shrink_much(byte: int) -> None:
    data = bytes((byte,)) * 0x10000
    encoded = encode_memory(data)
    assert expand(encoded) == data.hex().encode()
    assert len(encoded) < len(data) * 2 // 30
    assert len(encode_binary(data)) < len(data) // 30


def test_long_runs_inside_a_page_shrink() -> None:
    data = random.Random(1).randbytes(2000).replace(b"\0", b"\1") + bytes(2096)
    encoded = encode_memory(data)
    assert expand(encoded) == data.hex().encode()
    assert len(encoded) < 4000 + 200


def test_noise_is_not_touched() -> None:
    data = random.Random(2).randbytes(0x10000)
    assert encode_memory(data) == data.hex().encode()
    assert encode_binary(data) == escape(data)


def test_little_is_not_touched() -> None:
    assert encode_memory(bytes(8)) == b"0" * 16
    assert encode_binary(bytes(8)) == bytes(8)


@given(st.binary(max_size=300).map(lambda data: data.replace(b"a", b"}")), st.integers(0, 400))
@example(b"}}", 3)
def test_what_is_escaped_in_part_comes_back(data: bytes, limit: int) -> None:
    escaped = escape_some(data, limit)
    whole = unescape(escaped)
    assert len(escaped) <= limit
    assert data.startswith(whole)
    # Nothing that would have fitted was left out.
    assert whole == data or len(escape_some(data[: len(whole) + 1], limit + 2)) > limit
