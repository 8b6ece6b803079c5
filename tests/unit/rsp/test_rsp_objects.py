"""`qXfer` objects, `qSupported`, `qOffsets`, symbols and thread-local variables."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, object_slice
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import unescape
from kdump_gdbserver.ports.libraries import Library
from tests.support.sessions import GDB, Debugger, thread_of, view_of


@given(st.binary(max_size=300), st.integers(1, 400))
def test_slices_of_any_size_make_up_the_object(auxv: bytes, chunk: int) -> None:
    assert auxv == Debugger(view_of(auxv=auxv)).object(b"auxv", chunk=chunk)


@given(
    st.one_of(st.binary(max_size=200), st.just(b"}" * 200)),
    st.integers(0, 250), st.integers(0, 250), st.integers(4, 60),
)  # fmt: skip
def test_a_slice_is_never_longer_than_a_packet(
    data: bytes, offset: int, length: int, limit: int
) -> None:
    if offset > len(data):
        with pytest.raises(PacketError):
            object_slice(data, offset, length, limit)
        return
    reply = object_slice(data, offset, length, limit)
    assert len(reply) <= limit
    part = unescape(reply[1:])
    assert data[offset : offset + len(part)] == part
    assert len(part) <= length
    assert part or not length or offset == len(data)
    assert (b"l" if offset + len(part) == len(data) else b"m") == reply[:1]


def test_a_big_object_of_bytes_to_escape_comes_whole() -> None:
    auxv = b"#$}*" * 0x10000
    debugger = Debugger(view_of(auxv=auxv))
    assert auxv == debugger.object(b"auxv", chunk=PACKET_SIZE)
    assert auxv == debugger.object(b"auxv", chunk=(1 << 64) - 1)


def test_an_object_can_be_read_from_anywhere_and_again() -> None:
    debugger = Debugger(view_of(auxv=bytes(range(100)), exec_file="/bin/sh"))
    assert b"m" + bytes(range(50, 60)) == debugger.data(b"qXfer:auxv:read::32,a")
    assert debugger.data(b"qXfer:exec-file:read:1:0,100") == b"l/bin/sh"
    assert b"l" + bytes(range(60, 100)) == debugger.data(b"qXfer:auxv:read::3c,64")
    assert debugger.data(b"qXfer:auxv:read::0,1") == b"m\0"
    assert debugger.data(b"qXfer:auxv:read::64,1") == b"l"


def test_libraries_are_told_where_there_are_any() -> None:
    odd = 'a"b<&>\x01.so'
    libraries = [Library("/lib/libc.so.6", 0x7F00, 0x7F10), Library(odd, 0, 1)]
    debugger = Debugger(dataclasses.replace(view_of(), libraries=libraries))
    assert b"qXfer:libraries-svr4:read+" in debugger.start(*GDB).split(b";")
    root = ET.fromstring(debugger.object(b"libraries-svr4").decode())
    assert (root.tag, root.attrib["version"]) == ("library-list-svr4", "1.0")
    assert [dict(library.attrib) for library in root] == [
        {
            "name": "/lib/libc.so.6",
            "lm": "0x0",
            "l_addr": "0x7f00",
            "l_ld": "0x7f10",
            "lmid": "0x0",
        },
        {"name": 'a"b<&>?.so', "lm": "0x0", "l_addr": "0x0", "l_ld": "0x1", "lmid": "0x0"},
    ]
    assert b"libraries" not in Debugger(view_of()).start(*GDB)


def test_the_signal_of_the_selected_thread() -> None:
    threads = [thread_of(1), thread_of(2, siginfo=bytes(range(128)))]
    debugger = Debugger(view_of(threads=threads))
    assert b"qXfer:siginfo:read+" in debugger.start(*GDB).split(b";")
    assert debugger.data(b"qXfer:siginfo:read::0,100")[:2] == b"E."
    debugger.ask(b"Hgp1.2")
    assert debugger.object(b"siginfo", chunk=50) == bytes(range(128))


def test_what_a_view_lacks_is_neither_announced_nor_given() -> None:
    debugger = Debugger(view_of())
    features = debugger.start(*GDB).split(b";")
    assert b"qXfer:auxv:read+" not in features
    assert b"qXfer:exec-file:read+" not in features
    assert b"qXfer:siginfo:read+" not in features
    for name in (b"auxv", b"exec-file"):
        assert debugger.data(b"qXfer:%b:read::0,100" % name)[:2] == b"E."
    assert debugger.data(b"qOffsets") == b""
    assert debugger.data(b"qSymbol::") == b"OK"
    assert debugger.data(b"qGetTLSAddr:1,0,0") == b""


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([], set()),
        ([b"multiprocess+"], {b"multiprocess+"}),
        ([b"error-message+", b"foo+"], {b"error-message+"}),
        ([b"multiprocess-"], set()),
        (GDB, {b"multiprocess+", b"error-message+"}),
    ],
)
def test_features_are_agreed_on(offered: list[bytes], expected: set[bytes]) -> None:
    debugger = Debugger(view_of(auxv=b"x", exec_file="/bin/sh"))
    features = set(debugger.start(*offered).split(b";"))
    assert expected == features & {b"multiprocess+", b"error-message+"}
    assert {
        b"PacketSize=%x" % PACKET_SIZE, b"QStartNoAckMode+", b"qXfer:features:read+",
        b"qXfer:threads:read+", b"qXfer:auxv:read+", b"qXfer:exec-file:read+",
    } <= features  # fmt: skip


def test_asking_for_features_again_forgets_the_old_ones() -> None:
    debugger = Debugger(view_of())
    debugger.data(b"qSupported:multiprocess+;error-message+")
    debugger.data(b"qSupported")
    assert debugger.data(b"qC") == b"QC1"
    assert debugger.data(b"Hg9") == b"E16"


def test_where_the_kernel_runs() -> None:
    debugger = Debugger(view_of(text_segment=0xFFFFFFFF9F000000))
    assert debugger.data(b"qOffsets") == b"TextSeg=ffffffff9f000000"
    assert debugger.data(b"qAttached") == b"1"


def test_symbols_are_asked_one_by_one_and_thread_locals_found() -> None:
    debugger = Debugger(view_of(threads=[thread_of(1), thread_of(2)], thread_locals=True))

    def asked(reply: bytes) -> str:
        assert reply[:8] == b"qSymbol:"
        return bytes.fromhex(reply[8:].decode()).decode()

    assert asked(debugger.data(b"qSymbol::")) == "__libc_version"
    name = b"__libc_version".hex().encode()
    assert asked(debugger.data(b"qSymbol:7f00:" + name)) == "_dl_tls"
    assert debugger.data(b"qSymbol::" + b"_dl_tls".hex().encode()) == b"OK"
    told = debugger.connection._client.session.thread_locals.told  # type: ignore[union-attr]
    assert told == {"__libc_version": 0x7F00, "_dl_tls": None}
    assert debugger.data(b"qGetTLSAddr:2,8,7f000000") == b"7f002008"
    assert debugger.data(b"qGetTLSAddr:3,8,7f000000")[:1] == b"E"
