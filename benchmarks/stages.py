"""Where the time of one request goes, measured in this process: no socket, one thread."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from benchmarks.contents import Content
from benchmarks.memory import OURS
from benchmarks.report import Report
from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import find_handler
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import PacketReader, frame
from kdump_gdbserver.adapters.rsp_tcp.wire.run_length import encode_memory
from kdump_gdbserver.cli.arguments import parse_arguments
from kdump_gdbserver.cli.container import Container

_PAGE = 4096
_REQUESTS = 10_000
_LARGE = 0x80000  # bytes, what gdb asks for at a time


def stages(report: Report, contents: Sequence[Content], rounds: int) -> None:
    """An 8-byte read, a stack read, `Hg` and `g`, and a large `m`, step by step."""
    content = next(content for content in contents if content.name == "random")
    container = Container()
    container.config.from_dict(vars(parse_arguments(["-f", str(content.dump)])))
    session = container.target().open_session()
    connection = Connection(lambda: session, ExchangeLog(structlog.get_logger(), False))
    for request in (b"qSupported:multiprocess+", b"QStartNoAckMode"):
        connection.receive(_packet(request))
    (span,) = content.ours
    choice = random.Random(3)
    starts = [span.start + _PAGE * choice.randrange(span.length // _PAGE) for _ in range(_REQUESTS)]
    small = [_packet(b"m%x,8" % start) for start in starts]
    large = [span.start + at for at in range(0, span.length, _LARGE)]
    whole = [_packet(b"m%x,%x" % (at, _LARGE)) for at in large]
    data = session.read_memory(span.start, _LARGE)
    text = encode_memory(data)
    reader = PacketReader()
    reader.verify_checksums = False
    file = os.open(content.dump, os.O_RDONLY)
    payloads = [packet[1:-3] for packet in small]
    section = "where a request's time goes"
    for _ in range(rounds):
        for name, step, over in (
            ("8-byte read: all but the socket", connection.receive, small),
            ("8-byte read: packet out of bytes", reader.feed_packet, small),
            ("8-byte read: which handler", find_handler, payloads),
            ("8-byte read: memory", lambda at: session.read_memory(at, 8), starts),
            ("8-byte read: of that, pread(2)", lambda at: os.pread(file, 8, at % _PAGE), starts),
            ("8-byte read: frame", frame, [b"0123456789abcdef"] * _REQUESTS),
            ("Hg", connection.receive, [_packet(b"Hgp1.1")] * _REQUESTS),
            ("g", connection.receive, [_packet(b"g")] * _REQUESTS),
            ("64-byte read", connection.receive, [_packet(b"m%x,40" % at) for at in starts]),
            ("512 KiB by m: all", connection.receive, whole),
            ("512 KiB by m: memory", lambda at: session.read_memory(at, _LARGE), large),
            ("512 KiB by m: digits, runs", lambda _: encode_memory(data), large),
            ("512 KiB by m: frame", lambda _: frame(text), large),
        ):  # fmt: skip
            report.row(section, name, "us").add(OURS, _microseconds(step, over))
    os.close(file)
    report.print(section)


def _microseconds(step: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Return the mean over one pass."""
    began = time.perf_counter()
    for argument in arguments:
        step(argument)
    return (time.perf_counter() - began) / len(arguments) * 1e6


def _packet(payload: bytes) -> bytes:
    return b"$%b#%02x" % (payload, sum(payload) & 0xFF)
