"""`vFile`: files of the dumped machine, read-only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import MOST_REFUSED
from kdump_gdbserver.ports.remote_files import RefusedError
from tests.support.sessions import Debugger, FakeFiles, view_of

ENOENT, EIO, EBADF, EINVAL, EMFILE, EROFS = (
    b"F-1,2", b"F-1,5", b"F-1,9", b"F-1,16", b"F-1,18", b"F-1,1e",
)  # fmt: skip
PATH = b"/etc/hosts"


def hexed(path: bytes) -> bytes:
    return path.hex().encode()


def debugger_of(content: bytes = b"127.0.0.1\n") -> tuple[Debugger, FakeFiles]:
    files = FakeFiles({PATH.decode(): content, "/bad\udcff": b"odd"}, {"/proc/self/exe": "/bin/#$"})
    return Debugger(view_of(files=files)), files


def opened(debugger: Debugger, path: bytes = PATH) -> bytes:
    reply = debugger.data(b"vFile:open:" + hexed(path) + b",0,0")
    assert reply[:1] == b"F"
    assert reply[:3] != b"F-1"
    return reply[1:]


@given(st.binary(max_size=300), st.integers(1, 100))
def test_a_file_is_read_in_pieces_of_any_size(content: bytes, count: int) -> None:
    debugger, files = debugger_of(content)
    number = opened(debugger)
    whole = b""
    while True:
        reply = debugger.data(b"vFile:pread:%b,%x,%x" % (number, count, len(whole)))
        length, _, part = reply[1:].partition(b";")
        assert int(length, 16) == len(part) <= count
        if not part:
            break
        whole += part
    assert content == whole
    assert debugger.data(b"vFile:close:" + number) == b"F0"
    assert [file.closed for file in files.opened] == [True]


def test_a_piece_fits_the_packet_however_it_is_escaped() -> None:
    debugger, _ = debugger_of(b"}" * PACKET_SIZE)
    reply = debugger.ask(b"vFile:pread:%b,ffffffff,0" % opened(debugger))
    assert reply is not None
    assert PACKET_SIZE // 2 < len(reply) <= PACKET_SIZE
    assert debugger.data(b"vFile:pread:3,10,ffffffffffffffff") == b"F0;"


def test_a_refusal_stops_the_client_and_its_reason_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an error number gdb would only make that there is no such file."""
    debugger, files = debugger_of()
    number = opened(debugger)

    def refuse(*arguments: object) -> bytes:
        raise RefusedError("not that one; take another")

    monkeypatch.setattr(files.opened[0], "read", refuse)
    with capture_logs() as entries:
        for _ in range(2 * MOST_REFUSED):
            assert debugger.data(b"vFile:pread:%b,64,0" % number) == b"F1;"
    assert [(entry["event"], entry["reason"]) for entry in entries] == [
        ("refused", "not that one; take another")
    ] * MOST_REFUSED
    assert debugger.data(b"vFile:close:" + number) == b"F0"


@pytest.mark.parametrize("operation", [b"stat", b"lstat", b"fstat"])
def test_stat_is_the_protocols_structure(operation: bytes) -> None:
    debugger, files = debugger_of(b"x" * 1025)
    named = opened(debugger) if operation == b"fstat" else hexed(PATH)
    reply = debugger.data(b"vFile:%b:%b" % (operation, named))
    assert reply[:4] == b"F40;"
    stat = reply[4:]
    assert len(stat) == 64
    assert int.from_bytes(stat[8:12], "big") == 0o100444  # st_mode
    sizes = [int.from_bytes(stat[at : at + 8], "big") for at in (28, 36, 44)]
    assert sizes == [1025, 512, 3]  # st_size, st_blksize, st_blocks
    assert (operation != b"fstat") == files.opened[0].closed


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b"setfs:0", b"F0"),
        (b"open:" + hexed(b"/etc/shadow") + b",0,0", ENOENT),
        (b"open:" + hexed(PATH) + b",1,1b6", EROFS),
        (b"open:" + hexed(PATH) + b",2,1b6", EROFS),
        (b"open:" + hexed(PATH), EINVAL),
        (b"open", EINVAL),
        (b"pread:3,10,0", EBADF),
        (b"pread:3,10", EINVAL),
        (b"open:zz,0,0", EINVAL),
        (b"close:3", EBADF),
        (b"fstat:3", EBADF),
        (b"stat:" + hexed(b"/nope"), ENOENT),
        (b"pwrite:3,0,data", EROFS),
        (b"unlink:" + hexed(PATH), EROFS),
        (b"readlink:" + hexed(PATH), ENOENT),
        (b"readlink:" + hexed(b"/proc/self/exe"), b"F7;/bin/#$"),
        (b"stat:" + hexed(b"/bad\xff"), b"F40;"),
        (b"chown:" + hexed(PATH), b""),
        (b"", b""),
    ],
)
def test_each_operation(request_: bytes, reply: bytes) -> None:
    debugger, _ = debugger_of()
    assert reply == debugger.data(b"vFile:" + request_)[: max(len(reply), 4 if reply else 0)]


@pytest.mark.parametrize("numbers", [b"-1,0", b"10,-1", b"10," + b"f" * 17, b",", b"zz,0"])
def test_numbers_that_are_none_are_invalid_as_vfile_says_it(numbers: bytes) -> None:
    debugger, _ = debugger_of()
    number = opened(debugger)
    assert debugger.data(b"vFile:pread:%b,%b" % (number, numbers)) == EINVAL
    assert debugger.data(b"vFile:pread:%b,%b,0" % (number, b"7" + b"f" * 15))[:2] == b"Fa"


def test_a_view_without_files_says_so_lest_gdb_take_its_own() -> None:
    debugger = Debugger(view_of())
    assert debugger.data(b"vFile:open:" + hexed(PATH) + b",0,0") == ENOENT
    assert debugger.data(b"vFile:stat:" + hexed(PATH)) == ENOENT
    assert debugger.data(b"vFile:readlink:" + hexed(PATH)) == ENOENT
    assert debugger.data(b"vFile:setfs:0") == b"F0"


def test_a_client_may_have_only_so_many_files_open() -> None:
    debugger, files = debugger_of()
    numbers = {opened(debugger) for _ in range(32)}
    assert len(numbers) == 32
    assert debugger.data(b"vFile:open:" + hexed(PATH) + b",0,0") == EMFILE
    assert len(files.opened) == 32
    debugger.data(b"vFile:close:5")
    assert opened(debugger) == b"5"


def test_a_file_that_cannot_be_read_is_an_io_error() -> None:
    debugger, files = debugger_of()
    files.broken.add(PATH.decode())
    assert debugger.data(b"vFile:pread:%b,10,0" % opened(debugger)) == EIO


@pytest.mark.parametrize(
    ("byte", "most"), [(b"a", PACKET_SIZE - 32), (b"}", PACKET_SIZE // 2 - 16)]
)
def test_a_read_gets_as_much_as_a_packet_holds(byte: bytes, most: int) -> None:
    debugger, _ = debugger_of(byte * (2 * PACKET_SIZE))
    number = opened(debugger)
    reply = debugger.data(b"vFile:pread:" + number + b",%x,0" % PACKET_SIZE)
    assert int(reply[1 : reply.index(b";")], 16) == most
