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

# What a reply in words must not hold: bytes that mean something in a frame (`*` a run
# length), and all that is not printable ASCII.
_MAX_WORDS = 300
_NOT_PLAIN = re.compile(r"[^ -~]|[#$*}]")
# All that is no Char of XML 1.0, section 2.2: a task's name can hold any byte, and one of
# these would make gdb refuse a whole document.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEX_DIGITS = b"0123456789abcdefABCDEF"


class PacketError(Exception):
    """A packet's arguments make no sense, or name something that is not there.

    `text` says so in words for clients that take error messages.
    """

    def __init__(self, text: str, code: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def parse_hex(digits: bytes) -> int:
    """Return a number of hex digits alone (no sign, no 0x); raise `PacketError` else."""
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
    """Return words as they can stand in an error reply, which knows no escapes."""
    return _NOT_PLAIN.sub("?", text[:_MAX_WORDS]).encode("ascii")


def xml_text(text: str) -> str:
    """Return text as it can stand between XML tags."""
    legal = _NOT_XML.sub("?", text)
    return legal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def encode_text(text: str) -> bytes:
    """Return a name or path in UTF-8, bytes that were none as they were in the dump."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character out of a JSON file
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
    """Return the id as the client understands it."""
    if multiprocess:
        return b"p%x.%x" % thread_id
    return b"%x" % thread_id.tid


@functools.lru_cache(maxsize=64)
def _spans(layout: RegisterLayout, known: int) -> tuple[tuple[int, int, str], ...]:
    """Cut a layout into runs of known and unavailable registers, in hex digit offsets.

    With an unavailable run comes what stands for it, with a known one "".
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
    """Return the `g` reply: hex digits, `x` for every digit of an unavailable register."""
    digits = registers.raw.hex()
    return "".join(
        unavailable or digits[start:end]
        for start, end, unavailable in _spans(registers.layout, registers.known)
    ).encode()


def encode_register(registers: RegisterSet, number: int) -> bytes:
    """Return the `p` reply for one register; raise `PacketError` when there is no such one."""
    if number >= len(registers.layout.slots):
        raise PacketError(f"no register {number:#x}")
    raw = registers.raw_register(number)
    if raw is None:
        return b"x" * (2 * registers.layout.slots[number].register.size)
    return raw.hex().encode()


def object_slice(data: bytes, offset: int, length: int, limit: int) -> bytes:
    """Return a `qXfer` reply: `m` and a part, or `l` and the last part, escaped.

    `limit` bounds the reply in bytes after escaping.
    """
    if offset > len(data):
        raise PacketError(f"offset {offset:#x} is beyond the object's end")
    part = data[offset : offset + min(length, limit - 1)]
    escaped = escape_some(part, limit - 1)
    end = offset + len(escaped) - escaped.count(b"}")
    return (b"l" if end >= len(data) else b"m") + escaped
