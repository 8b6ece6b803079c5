"""Run-length encoding of replies that are hex digits (GDB manual, "Overview").

`X*N` stands for X and as many more X as the character N says, less 29. gdb needs some
20 ns for each character of a reply whatever it stands for, so memory that repeats gets
through many times faster. LLDB expands it as well. Only runs of one digit can be written
so; in memory these are zeros above all, then bytes with all bits set, and whole pages of
a filler (0xcc behind the kernel's text).

Binary replies (`x`, `qXfer`, `vFile`) have no use for this: they escape `*` instead.
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.hex_digits import LARGE, hex_digits

# The count is a printable character: "~", 126, is the largest (GDB manual, "Overview").
_OFFSET = 29
LONGEST = 126 - _OFFSET + 1
# "#" and "$" would end or begin a packet, "+" and "-" look like acknowledgements.
_FORBIDDEN = frozenset(b"#$+-")
_FEWEST = 32 - _OFFSET + 1

# Below this many bytes of memory there is nothing to win.
_SMALL = 512
_PAGE = 4096
# Lengths, in digits, of runs looked for in pages that are not all the same. Looking for
# shorter ones too costs the server more time than it saves gdb.
_LENGTHS = (LONGEST, 32)
# One word in so many has to be all zeros (all ones) for runs to be looked for at all.
_MANY = 256


def run(digit: int, length: int) -> bytes:
    """Return `length` times the character `digit`, encoded."""
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


def encode_memory(data: bytes) -> bytes:
    """Return memory as hex digits, run-length encoded where that pays."""
    size = len(data)
    if size < _SMALL:
        return data.hex().encode()
    parts: list[bytes] = []
    done = 0
    for start in range(0, size - _PAGE + 1, _PAGE):
        filled = _FILLED.get(data[start])
        if filled is not None and data.startswith(filled[0], start):
            if done < start:
                parts.append(_encode_mixed(data[done:start]))
            parts.append(filled[1])
            done = start + _PAGE
    if done < size:
        parts.append(_encode_mixed(data[done:]))
    return b"".join(parts)


def _encode_mixed(data: bytes) -> bytes:
    digits = hex_digits(data)
    for word, replacements in _SEARCHES:
        if _has_many(data, word):
            for needle, encoded in replacements:
                digits = digits.replace(needle, encoded)
    return digits


def _has_many(data: bytes, word: int) -> bool:
    """Whether runs are likely: counting aligned words is far quicker than looking for runs."""
    if len(data) < LARGE:
        return True
    import numpy as np

    words = np.frombuffer(data, np.uint64, len(data) // 8)
    return bool(np.count_nonzero(words == word) * _MANY >= len(words))


def _replacements(digit: int) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((bytes((digit,)) * length, run(digit, length)) for length in _LENGTHS)


_SEARCHES = tuple(
    (word, _replacements(digit)) for word, digit in ((0, ord("0")), ((1 << 64) - 1, ord("f")))
)
# Pages of one byte whose two digits are the same, and how they are encoded, by that byte.
_FILLED = {
    0x11 * value: (bytes((0x11 * value,)) * _PAGE, run(b"0123456789abcdef"[value], 2 * _PAGE))
    for value in range(16)
}
