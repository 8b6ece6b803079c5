"""Threads as a client sees them: selection, lists, texts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE
from tests.support.sessions import GDB, Debugger, thread_of, view_of


def listed(debugger: Debugger) -> list[bytes]:
    """Return all thread ids by qfThreadInfo and qsThreadInfo."""
    ids: list[bytes] = []
    reply = debugger.data(b"qfThreadInfo")
    while reply != b"l":
        assert reply[:1] == b"m"
        assert len(reply) < PACKET_SIZE
        ids += reply[1:].split(b",")
        reply = debugger.data(b"qsThreadInfo")
    return ids


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=20, unique=True), st.booleans())
def test_any_threads_are_listed_in_order_alive_and_selectable(
    numbers: list[int], multiprocess: bool
) -> None:
    debugger = Debugger(
        view_of(threads=[thread_of(n, {"rip": n}) for n in numbers], current=len(numbers) // 2)
    )
    debugger.start(*(GDB if multiprocess else ()))
    written = [b"p1.%x" % n if multiprocess else b"%x" % n for n in numbers]
    assert b"QC" + written[len(numbers) // 2] == debugger.data(b"qC")
    assert written == listed(debugger)
    for number, name in zip(numbers, written, strict=True):
        assert debugger.data(b"T" + name) == b"OK"
        assert debugger.data(b"Hg" + name) == b"OK"
        assert b"QC" + name == debugger.data(b"qC")
        assert number.to_bytes(8, "little").hex().encode() == debugger.data(b"p10")
        assert f"CPU #{number - 1}".encode().hex().encode() == debugger.data(
            b"qThreadExtraInfo," + name
        )
    absent = max(numbers) + 1
    for ask in (b"T%x", b"Hg%x", b"Hgp1.%x", b"qThreadExtraInfo,%x"):
        assert debugger.data(ask % absent)[:1] == b"E"
    assert b"QC" + written[-1] == debugger.data(b"qC")  # errors select nothing


@pytest.mark.parametrize("name", [b"0", b"-1", b"p1.0", b"p1.-1", b"p1", b"p-1.-1", b"p0.0"])
def test_any_and_all_stand_for_the_selected_thread(name: bytes) -> None:
    debugger = Debugger(view_of(threads=[thread_of(i) for i in (1, 2, 3)], current=1))
    assert debugger.data(b"Hg3") == b"OK"
    assert debugger.data(b"Hg" + name) == b"OK"
    assert debugger.data(b"qC") == b"QC3"
    assert debugger.data(b"T" + name) == b"OK"


def test_hc_selects_nothing() -> None:
    debugger = Debugger(view_of(threads=[thread_of(i) for i in (1, 2)]))
    assert debugger.data(b"Hc2") == b"OK"
    assert debugger.data(b"qC") == b"QC1"


def test_ten_thousand_threads() -> None:
    threads = [
        thread_of(i, extra=f"pid {i} <#$}}*&>", name=f"kworker/{i}") for i in range(1, 10001)
    ]
    debugger = Debugger(view_of(threads=threads))
    debugger.start(*GDB)
    assert [b"p1.%x" % i for i in range(1, 10001)] == listed(debugger)
    assert [b"p1.%x" % i for i in range(1, 10001)] == listed(debugger)  # and once more
    document = ET.fromstring(debugger.object(b"threads", chunk=0x8000))
    assert [f"p1.{i:x}" for i in range(1, 10001)] == [t.get("id") for t in document]
    assert document[-1].text == "pid 10000 <#$}*&>"
    assert (debugger.data(b"Hgp1.2710"), debugger.data(b"qC"))[1] == b"QC" + b"p1.2710"


def test_a_list_begun_anew_starts_at_the_first_thread() -> None:
    debugger = Debugger(view_of(threads=[thread_of(i) for i in (1, 2)]))
    assert debugger.data(b"qsThreadInfo") == b"l" or debugger.data(b"qsThreadInfo") == b"l"
    assert debugger.data(b"qfThreadInfo") == b"m1,2"
    assert debugger.data(b"qfThreadInfo") == b"m1,2"
    assert debugger.data(b"qsThreadInfo") == b"l"
    assert debugger.data(b"qsThreadInfo") == b"l"


any_text = st.text(st.characters(), max_size=20)  # surrogates and control characters, too


@given(st.lists(st.tuples(any_text, any_text, st.none() | st.integers(0, 8192)), min_size=1))
def test_the_document_is_well_formed_for_any_names(
    given_: list[tuple[str, str, int | None]],
) -> None:
    threads = [
        thread_of(i, extra=extra, name=name, core=core)
        for i, (extra, name, core) in enumerate(given_, 1)
    ]
    document = ET.fromstring(Debugger(view_of(threads=threads)).object(b"threads"))
    assert document.tag == "threads"
    for thread, (element, (extra, name, core)) in zip(
        threads, zip(document, given_, strict=True), strict=True
    ):
        assert f"{thread.id.tid:x}" == element.get("id")
        assert (None if core is None else str(core)) == element.get("core")
        if name.isprintable():
            assert (name or None) == element.get("name")
        if extra and extra.isprintable():
            assert extra == element.text


@given(any_text.filter(bool))
def test_the_extra_text_of_any_name_is_hex(extra: str) -> None:
    reply = Debugger(view_of(threads=[thread_of(1, extra=extra)])).data(b"qThreadExtraInfo,1")
    text = bytes.fromhex(reply.decode()).decode("utf-8", "surrogateescape")
    assert len(extra) == len(text)
    if extra.isprintable():
        assert extra == text
