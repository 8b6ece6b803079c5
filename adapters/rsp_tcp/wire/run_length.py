"""Run-length encoding of memory, in hex or binary (GDB manual, "Overview").

`X*N` stands for X and N - 29 more of it, N being a character. gdb spends about 20 ns on each
character of a reply, so memory that repeats is transferred many times faster. LLDB expands runs,
too. Only runs of one character can be encoded. In memory these are mostly zeros, then bytes with
all bits set, and whole pages of a filler (0xcc after the kernel's text).

Both debuggers expand runs before they undo escapes, so a run must not follow a `}`: no escape ends
in one of the bytes repeated here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kdump_gdbserver.adapters.rsp_tcp.wire.framing import escape
from kdump_gdbserver.adapters.rsp_tcp.wire.hex_digits import LARGE, hex_digits

# The count is a printable character: "~", 126, is the largest (GDB manual, "Overview").
_OFFSET = 29
LONGEST = 126 - _OFFSET + 1
# "#" and "$" would end or start a packet; "+" and "-" look like acknowledgements.
_FORBIDDEN = frozenset(b"#$+-")
_FEWEST = 32 - _OFFSET + 1

# Below this many bytes of memory there is nothing to gain.
_SMALL = 512
_PAGE = 4096
# Lengths, in characters, of the runs searched for in pages of mixed contents. To search for
# shorter ones, too, costs the server more time than it saves gdb.
_LENGTHS = (LONGEST, 32)
# Runs are searched for if at least one word in this many is all zeros (all ones).
_MANY = 256


def run(digit: int, length: int) -> bytes:
    """Return the encoding of `length` times the character `digit`."""
    character = bytes((digit,))
    whole, rest = divmod(length, LONGEST)
    encoded = bytes((digit, ord("*"), LONGEST - 1 + _OFFSET)) * whole
    if rest < _FEWEST:
        return encoded + character * rest
    repeats = rest - 1
    while repeats + _OFFSET in _FORBIDDEN:
        repeats -= 1
    left = rest - 1 - repeats
    return encoded + bytes((digit, ord("*"), repeats + _OFFSET)) + character * left


class _Form(NamedTuple):
    """A form to write memory in: hex or binary.

    `filled` maps a byte to a page full of it and that page's encoding. `searches` has a word of
    memory that makes runs likely, and the runs to search for with their encodings.
    """

    write: Callable[[bytes], bytes]
    filled: dict[int, tuple[bytes, bytes]]
    searches: tuple[tuple[int, tuple[tuple[bytes, bytes], ...]], ...]


def encode_memory(data: bytes) -> bytes:
    """Return memory in hex, run-length encoded where that is worthwhile."""
    return _encode(data, _HEX) if len(data) >= _SMALL else data.hex().encode()


def encode_binary(data: bytes) -> bytes:
    """Return memory in binary, escaped, and run-length encoded where that is worthwhile."""
    return _encode(data, _BINARY) if len(data) >= _SMALL else escape(data)


def _encode(data: bytes, form: _Form) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start in range(0, len(data) - _PAGE + 1, _PAGE):
        filled = form.filled.get(data[start])
        if filled is not None and data.startswith(filled[0], start):
            if done < start:
                parts.append(_encode_mixed(data[done:start], form))
            parts.append(filled[1])
            done = start + _PAGE
    if done < len(data):
        parts.append(_encode_mixed(data[done:], form))
    return b"".join(parts)


def _encode_mixed(data: bytes, form: _Form) -> bytes:
    text = form.write(data)
    for word, replacements in form.searches:
        if _has_many(data, word):
            for needle, encoded in replacements:
                text = text.replace(needle, encoded)
    return text


def _has_many(data: bytes, word: int) -> bool:
    """Whether runs are likely: to count aligned words is far faster than to search for runs."""
    if len(data) < LARGE:
        return True
    import numpy as np

    words = np.frombuffer(data, np.uint64, len(data) // 8)
    return bool(np.count_nonzero(words == word) * _MANY >= len(words))


def _replacements(character: int) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((bytes((character,)) * length, run(character, length)) for length in _LENGTHS)


_NONE, _ALL = 0, (1 << 64) - 1  # words with no bit set, and with all
# Bytes whose two digits are equal. None of them is escaped, and no escape ends in one.
_FILLERS = {0x11 * value: bytes((0x11 * value,)) * _PAGE for value in range(16)}
_HEX = _Form(
    hex_digits,
    {byte: (page, run(ord(f"{byte:x}"[0]), 2 * _PAGE)) for byte, page in _FILLERS.items()},
    ((_NONE, _replacements(ord("0"))), (_ALL, _replacements(ord("f")))),
)
_BINARY = _Form(
    escape,
    {byte: (page, run(byte, _PAGE)) for byte, page in _FILLERS.items()},
    ((_NONE, _replacements(0x00)), (_ALL, _replacements(0xFF))),
)
