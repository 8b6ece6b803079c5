"""What the fuzzer calls: each target takes any bytes and fails by raising.

`tests/unit/project/test_fuzz_corpus.py` runs them on the corpus, with no fuzzer needed.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader
from kdump_gdbserver.adapters.rsp_tcp.connection import MAX_HELD, Connection
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import (
    MAX_PAYLOAD,
    Event,
    Packet,
    PacketReader,
    escape,
    frame,
    unescape,
)
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.errors import InputError, SidecarError
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms, KallsymsTables, parse_tokens
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.fake_kernel import FakeKernel, fake_kernel
from tests.support.sidecar_writer import write_kernel_tasks, write_process
from tests.support.symbol_questions import ask_btf, ask_kallsyms

CORPUS = Path(__file__).parent / "corpus"
SCRATCH = "KDUMP_GDBSERVER_FUZZ_SCRATCH"  # names a folder to write to; the fuzzer removes none
_kept: list[tempfile.TemporaryDirectory[str]] = []
BYTE_ORDERS: tuple[ByteOrder, ByteOrder] = ("little", "big")
_BASE = 0xFFFFFFFF81000000
_FRAME = re.compile(rb"\$([^#$]*)#([0-9a-f]{2})", re.DOTALL)
# Answers of one input that are looked at; a search through nothing is left to its own bound.
_PARTS = 200


def codec(data: bytes) -> None:
    """The events do not depend on how the stream is cut, and frames come out as they went in."""
    whole, cut = PacketReader(), PacketReader()
    whole.verify_checksums = cut.verify_checksums = not data or bool(data[0] & 1)
    events: list[Event] = []
    for start in range(0, len(data), 3):
        events += cut.feed(data[start : start + 3])
    assert whole.feed(data) == events
    assert len(whole._buffer) <= MAX_PAYLOAD + 3
    again = PacketReader().feed(frame(escape(data)))
    assert again == [Packet(data)]
    assert unescape(escape(data)) == data


class _Log:
    """An exchange log that only says that it is off."""

    enabled = False

    def malformed(self, reason: str) -> None:
        assert "\n" not in reason

    def exchange(self, *arguments: object) -> None:
        """Log nothing."""

    def bug(self, request: bytes) -> None:
        """Let the bug out, which the connection would survive."""
        raise  # noqa: PLE0704  # what the caller handles


def dispatcher(data: bytes) -> None:
    """Each line is a packet, framed as it ought to be; the answers are frames and right.

    A line that begins with a space is sent as it is.
    """
    kernel, view = _kernel()
    connection = Connection(view.open_session, _Log())  # type: ignore[arg-type]
    for line in data.split(b"\n"):
        sent = line[1:] if line[:1] == b" " else frame(re.sub(rb"[#$]", b"", line))
        for out in _answers(connection, sent):
            assert len(out) < 2 * MAX_HELD
            assert not _FRAME.sub(_checked, out).strip(b"+-")
        if connection.closed:
            return
    # After all that: memory is right.
    for out in _answers(connection, b"#00#00" + frame(b"Qqemu.PhyMemMode:0")):
        assert isinstance(out, bytes)
    if not connection.closed:
        answer = b"".join(_answers(connection, frame(b"m%x,4" % kernel.symbols["_text"])))
        assert answer.endswith(frame(b"90909090"))


@functools.cache
def _kernel() -> tuple[FakeKernel, View]:
    kernel = fake_kernel(possible=2, pids={1: 42}, panic_cpu=1)
    return kernel, open_kernel_view(kernel.dump())


def _answers(connection: Connection, data: bytes) -> Iterator[bytes]:
    yield connection.receive(data)
    for number in range(_PARTS):
        if not connection.busy:
            return
        if number == _PARTS // 2:
            yield connection.receive(b"\x03")
        yield connection.more()
    raise AssertionError("no end, not even by an interrupt")


def _checked(match: re.Match[bytes]) -> bytes:
    assert frame(match[1])[-2:] == match[2]
    return b""


def sidecar(data: bytes) -> None:
    """A file is read, and what was read comes back when it is written, or one line says why."""
    path = _scratch()
    Path(path).write_bytes(data)
    reader = JsonSidecarReader()
    try:
        try:
            tasks = reader.read_kernel_tasks(path, X86_64)
        except SidecarError as error:
            _one_line(error)
            image = reader.read_process(path, X86_64)
            write_process(path, image)
            assert reader.read_process(path, X86_64) == image
        else:
            write_kernel_tasks(path, tasks)
            assert reader.read_kernel_tasks(path, X86_64) == tasks
    except SidecarError as error:
        _one_line(error)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that goes with this object, in memory if there is a place for it."""
    memory = "/dev/shm"
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


@functools.cache
def _scratch() -> str:
    folder = os.environ.get(SCRATCH)
    if folder is None:
        _kept.append(scratch_folder())
        folder = _kept[-1].name
    return str(Path(folder) / "sidecar.json")


def vmcoreinfo(data: bytes) -> None:
    """A text is parsed, and parsed again the same, or one line says why."""
    try:
        info = Vmcoreinfo.parse(data)
    except InputError as error:
        _one_line(error)
        return
    again = "".join(f"{key}={value}\n" for key, value in info.lines.items())
    assert Vmcoreinfo.parse(again.encode()).lines == info.lines
    for tag in ("SYMBOL", "NUMBER", "SIZE", "OFFSET", "LENGTH"):
        for name in info.untagged(tag):
            for look_up in (info.symbol, info.number, info.size, info.offset, info.length):
                value = look_up(name)
                assert value is None or isinstance(value, int)
    assert info.kaslr_offset is None or 0 <= info.kaslr_offset < 1 << 64
    assert info.build_id is None or info.build_id.lower() == info.build_id
    assert isinstance((info.crash_time, info.page_size, info.release), tuple)


def btf(data: bytes) -> None:
    """Types are read, and all their records, or there is a ValueError."""
    for order in BYTE_ORDERS:
        try:
            read = Btf.parse(data, order)
        except ValueError as error:
            _one_line(error)
        else:
            ask_btf(read)


def kallsyms(data: bytes) -> None:
    """The kernel's symbol table is read, each symbol found by its name, or a ValueError says why.

    The parts: one byte of options, two for the length of the names, the names, the index of
    tokens, the number of symbols and their offsets, the tokens.
    """
    order = BYTE_ORDERS[data[0] & 1] if data else "little"
    length = int.from_bytes(data[1:3])
    names, rest = data[3 : 3 + length], data[3 + length :]
    index, rest = rest[:512], rest[512:]
    size = 4 * rest[0] if rest else 0
    offsets, token_table = rest[1 : 1 + size], rest[1 + size :]
    placed = bool(data and data[0] & 2)
    try:
        tokens = parse_tokens(token_table, index.ljust(512, b"\0"), order)
        tables = KallsymsTables(
            names, tokens, offsets, None if placed else _BASE, order, _BASE if placed else None
        )
        ask_kallsyms(Kallsyms.proved(tables, {}))
    except ValueError as error:
        _one_line(error)


def _one_line(error: Exception) -> None:
    assert str(error).strip()
    assert "\n" not in str(error)


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (codec, dispatcher, sidecar, vmcoreinfo, btf, kallsyms)
}
