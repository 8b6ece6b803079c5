"""Values as RSP writes them: hex numbers, thread ids, registers, slices of objects."""

from __future__ import annotations

import errno
import functools
import re

from kdump_gdbserver.adapters.rsp_tcp.wire.framing import escape_some
from kdump_gdbserver.adapters.rsp_tcp.wire.run_length import run
from kdump_gdbserver.domain.arch.model import RegisterLayout
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import ThreadId

# What the text of an error reply must not contain: bytes with a meaning in a frame (`*` is a run
# length), and anything but printable ASCII.
_MAX_WORDS = 300
_NOT_PLAIN = re.compile(r"[^ -~]|[#$*}]")
# Everything that is not a Char of XML 1.0, section 2.2. A task's name can contain any byte, and one
# of these would make gdb reject the whole document.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEX_DIGITS = b"0123456789abcdefABCDEF"


class PacketError(Exception):
    """A packet's arguments are malformed, or name something that does not exist.

    `text` is for clients that take error messages, `code` for all others.
    """

    def __init__(self, text: str, code: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def parse_hex(digits: bytes) -> int:
    """Return the value of hex digits; raise `PacketError` for anything else, even a sign or 0x."""
    if not digits or len(digits) > 16 or digits.translate(None, _HEX_DIGITS):
        raise PacketError(f"not a hexadecimal number: {digits[:20]!r}")
    return int(digits, 16)


def parse_hex_pair(arguments: bytes) -> tuple[int, int]:
    """Return the two numbers of `ADDRESS,LENGTH`."""
    first, _, second = arguments.partition(b",")
    return parse_hex(first), parse_hex(second)


def parse_hex_bytes(digits: bytes) -> bytes:
    """Return the bytes of pairs of hex digits."""
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise PacketError(f"not hexadecimal bytes: {digits[:20]!r}") from None


def plain_text(text: str) -> bytes:
    """Return text for an error reply, where nothing can be escaped."""
    return _NOT_PLAIN.sub("?", text[:_MAX_WORDS]).encode("ascii")


def xml_text(text: str) -> str:
    """Return text with what XML reserves escaped, and what it does not allow replaced."""
    legal = _NOT_XML.sub("?", text)
    return legal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def encode_text(text: str) -> bytes:
    """Return a name or path in UTF-8; bytes that were not UTF-8 in the dump are unchanged."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair from a JSON file
        return text.encode("utf-8", "replace")


# In a thread id 0 stands for "any" and -1 for "all" (GDB manual, "thread-id syntax").
ANY, ALL = 0, -1


def parse_thread_id(text: bytes) -> tuple[int | None, int]:
    """Return (pid, tid) of `TID`, `pPID` or `pPID.TID`; the pid is None when not given."""
    if not text.startswith(b"p"):
        return None, _id_number(text)
    pid, dot, tid = text[1:].partition(b".")
    return _id_number(pid), _id_number(tid) if dot else ALL


def _id_number(digits: bytes) -> int:
    return ALL if digits == b"-1" else parse_hex(digits)


def format_thread_id(thread_id: ThreadId, multiprocess: bool) -> bytes:
    """Return the id in the form that the client understands."""
    if multiprocess:
        return b"p%x.%x" % thread_id
    return b"%x" % thread_id.tid


@functools.lru_cache(maxsize=64)
def _spans(layout: RegisterLayout, known: int) -> tuple[tuple[int, int, str], ...]:
    """Divide a layout into runs of known and of unavailable registers, in hex digit offsets.

    Each run comes with the text for an unavailable one, or "" for a known one.
    """
    spans: list[tuple[int, int, bool]] = []
    for slot in layout.slots:
        is_known = bool(known >> slot.number & 1)
        if spans and spans[-1][2] == is_known:
            spans[-1] = (spans[-1][0], slot.end * 2, is_known)
        else:
            spans.append((slot.offset * 2, slot.end * 2, is_known))
    return tuple(
        (start, end, "" if is_known else run(ord("x"), end - start).decode())
        for start, end, is_known in spans
    )


def encode_registers(registers: RegisterSet) -> bytes:
    """Return the `g` reply: hex digits, or an `x` for each digit of an unavailable register."""
    digits = registers.raw.hex()
    return "".join(
        unavailable or digits[start:end]
        for start, end, unavailable in _spans(registers.layout, registers.known)
    ).encode()


def encode_register(registers: RegisterSet, number: int) -> bytes:
    """Return the `p` reply for one register; raise `PacketError` if there is no such register."""
    if number >= len(registers.layout.slots):
        raise PacketError(f"no register {number:#x}")
    raw = registers.raw_register(number)
    if raw is None:
        return b"x" * (2 * registers.layout.slots[number].register.size)
    return raw.hex().encode()


def object_slice(data: bytes, offset: int, length: int, limit: int) -> bytes:
    """Return a `qXfer` reply: `m` and a part, or `l` and the last part, escaped.

    `limit` is the most bytes of the reply, after escaping.
    """
    if offset > len(data):
        raise PacketError(f"offset {offset:#x} is beyond the object's end")
    part = data[offset : offset + min(length, limit - 1)]
    escaped = escape_some(part, limit - 1)
    end = offset + len(escaped) - escaped.count(b"}")
    return (b"l" if end >= len(data) else b"m") + escaped
