"""What the server answers, asked in its own protocol."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from kdump_gdbserver.domain.address_space import ByteOrder
from tests.support.tcp import TcpClient

_CPU = re.compile(r"CPU #(\d+)")
_TASK = re.compile(r'pid (\d+) LWP (\d+) "(.*)"')


class Asked:
    """A client of a served dump."""

    def __init__(self, port: int, byte_order: str) -> None:
        self._client = TcpClient(port)
        self._byte_order = byte_order
        self._client.ask(b"qSupported:xmlRegisters=i386,arm")
        self._slots: list[tuple[str, int, int]] | None = None

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def memory(self, address: int, length: int) -> str | None:
        """Bytes in hexadecimal, None for an error; a shorter answer stays short."""
        reply = self._client.ask(b"m%x,%x" % (address, length))
        return None if reply[:1] == b"E" else reply.decode()

    def threads(self) -> dict[int, str]:
        """What is said of each thread, by its number."""
        ids: list[int] = []
        reply = self._client.ask(b"qfThreadInfo")
        while reply[:1] == b"m":
            ids += [int(part.split(b".")[-1], 16) for part in reply[1:].split(b",")]
            reply = self._client.ask(b"qsThreadInfo")
        extra = {tid: self._client.ask(b"qThreadExtraInfo,%x" % tid) for tid in ids}
        return {tid: bytes.fromhex(text.decode()).decode() for tid, text in extra.items()}

    def registers(self, thread: int) -> dict[str, int]:
        """Those of a thread that are available, by gdb's names."""
        assert self._client.ask(b"Hg%x" % thread) == b"OK"
        raw = _expanded(self._client.ask(b"g")).decode()
        values = {}
        for name, start, end in self._layout():
            digits = raw[2 * start : 2 * end]
            if len(digits) == 2 * (end - start) and "x" not in digits:
                order: ByteOrder = "little" if self._byte_order == "little" else "big"
                values[name] = int.from_bytes(bytes.fromhex(digits), order)
        return values

    def _layout(self) -> list[tuple[str, int, int]]:
        if self._slots is None:
            self._slots = list(_slots(self._object("features", "target.xml")))
        return self._slots

    def _object(self, kind: str, annex: str) -> str:
        text, offset = b"", 0
        while True:
            reply = self._client.ask(f"qXfer:{kind}:read:{annex}:{offset:x},800".encode())
            assert reply[:1] in (b"m", b"l"), reply
            text += reply[1:]
            offset = len(text)
            if reply[:1] == b"l":
                return text.decode()


def _expanded(reply: bytes) -> bytes:
    """A reply without run-length encoding (GDB manual, "Overview" of the protocol)."""
    return re.sub(rb"(.)\*(.)", lambda found: found[1] * (found[2][0] - 28), reply)


def _slots(description: str) -> Iterator[tuple[str, int, int]]:
    """Name, first and last byte of each register in a `g` packet."""
    offset = 0
    for register in ET.fromstring(description).iter("reg"):
        size = int(register.attrib["bitsize"]) // 8
        yield register.attrib["name"], offset, offset + size
        offset += size


def cpu_of(said: str) -> str | None:
    """The CPU of a thread in kernel mode."""
    found = _CPU.search(said)
    return found[1] if found else None


def task_of(said: str) -> tuple[int, int, str] | None:
    """tgid, pid and name of a thread with `-k`."""
    found = _TASK.search(said)
    return (int(found[1]), int(found[2]), found[3]) if found else None
