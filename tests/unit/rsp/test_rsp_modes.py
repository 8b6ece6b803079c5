"""Extended mode, attaching, physical addresses, monitor commands, LLDB's ways."""

from __future__ import annotations

import json

import pytest

from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.arch import X86_64
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import GDB, Debugger, FakeFiles, thread_of, view_of


@pytest.mark.parametrize("leave", [b"D", b"D;1", b"k", b"vKill;1"])
def test_in_extended_mode_a_client_leaves_the_process_and_comes_back(leave: bytes) -> None:
    files = FakeFiles({"/a": b""})
    debugger = Debugger(view_of(threads=[thread_of(i) for i in (1, 2)], files=files))
    debugger.start(*GDB)
    assert debugger.data(b"!") == b"OK"
    assert debugger.data(b"Hgp1.2") == b"OK"
    debugger.data(b"vFile:open:2f61,0,0")
    debugger.ask(leave)
    assert not debugger.connection.closed
    assert debugger.data(b"?") == b"W00"
    assert debugger.data(b"qfThreadInfo") == b"l"
    assert debugger.data(b"vAttach;2")[:2] == b"E."
    assert debugger.data(b"vAttach;1")[:3] == b"T05"
    assert debugger.data(b"qC") == b"QCp1.1"
    assert debugger.data(b"qfThreadInfo") == b"mp1.1,p1.2"
    assert [file.closed for file in files.opened] == [True]


def test_programs_are_not_started() -> None:
    debugger = Debugger(view_of())
    debugger.data(b"!")
    assert debugger.data(b"vRun;2f62696e2f7368")[:2] == b"E."
    assert debugger.ask(b"R00") is None
    assert debugger.data(b"?")[:3] == b"T05"


def test_addresses_are_physical_when_asked_and_virtual_again() -> None:
    kernel = fake_kernel()
    debugger = Debugger(open_kernel_view(kernel.dump()))
    text = kernel.symbols["_text"]
    assert debugger.data(b"qqemu.PhyMemMode") == b"0"
    assert debugger.data(b"Qqemu.PhyMemMode:1") == b"OK"
    assert debugger.data(b"qqemu.PhyMemMode") == b"1"
    assert debugger.data(b"m%x,4" % text) == b"E0e"
    assert debugger.data(b"m%x,4" % (text & (1 << 48) - 1)) == b"90909090"
    assert debugger.data(b"Qqemu.PhyMemMode:0") == b"OK"
    assert debugger.data(b"m%x,4" % text) == b"90909090"
    assert debugger.data(b"Qqemu.PhyMemMode:2")[:1] == b"E"


def test_a_view_without_a_dump_has_no_physical_addresses() -> None:
    debugger = Debugger(view_of())
    for packet in (b"Qqemu.PhyMemMode:1", b"qqemu.PhyMemMode", b"qqemu.Supported"):
        assert debugger.data(packet) == b""


def test_monitor_help_lists_every_command_and_each_can_be_asked() -> None:
    debugger = Debugger(open_kernel_view(fake_kernel().dump()))
    names = [line.split()[0] for line in debugger.monitor("help").splitlines()]
    assert {"help", "log", "stats"} <= set(names)
    assert debugger.monitor("") == debugger.monitor("help")
    for name in names:
        for arguments in ("", " 0", " ffffffff9f000000", " zz", " \x01 #$}*", " 1 2 3 4 5"):
            printed = debugger.monitor(name + arguments)
            assert "Traceback" not in printed
            assert "unknown command" not in printed


def test_an_unknown_monitor_command_says_where_help_is() -> None:
    printed = Debugger(view_of()).monitor("fro\x01b")
    assert printed == "unknown command 'fro\\x01b'; try 'monitor help'\n"


def test_statistics_count_what_was_asked() -> None:
    debugger = Debugger(view_of())
    for _ in range(5):
        debugger.data(b"qC")
    assert debugger.monitor("stats").splitlines()[:3] == [
        "packets received: 5",
        "payload bytes received: 10",
        "payload bytes sent: 15",
    ]


def test_lldb_learns_machine_registers_and_threads() -> None:
    threads = [thread_of(i, {"rip": i, "rsp": 0x100}, name=f"n{i}") for i in (1, 2)]
    debugger = Debugger(view_of(threads=threads, current=1))
    assert debugger.data(b"QThreadSuffixSupported") == b"OK"
    assert debugger.data(b"QListThreadsInStopReply") == b"OK"
    fields = dict(f.split(b":") for f in debugger.data(b"qHostInfo").split(b";") if f)
    assert bytes.fromhex(fields[b"triple"].decode()).decode() == X86_64.triple
    assert (fields[b"endian"], fields[b"ptrsize"]) == (b"little", b"8")
    assert debugger.data(b"qProcessInfo")[:6] == b"pid:1;"
    assert b"threads:1,2;" in debugger.data(b"?")
    assert debugger.data(b"qThreadStopInfo1")[:3] == b"T00"
    assert debugger.data(b"qThreadStopInfo2")[:3] == b"T05"
    assert debugger.data(b"p10;thread:1;") == b"0100000000000000"
    assert debugger.data(b"p10;thread:2;") == b"0200000000000000"
    assert debugger.data(b"p0;thread:2;")[:1] == b"E"  # LLDB knows no x digits
    listed = json.loads(debugger.data(b"jThreadsInfo"))
    assert [(t["tid"], t["name"]) for t in listed] == [(1, "n1"), (2, "n2")]
    assert [t.get("reason") for t in listed] == [None, "signal"]


def test_lldb_without_xml_learns_every_register() -> None:
    debugger = Debugger(view_of())
    for slot in X86_64.layout().slots:
        reply = debugger.data(b"qRegisterInfo%x" % slot.number)
        fields = dict(field.split(b":") for field in reply.split(b";") if field)
        assert fields[b"name"].decode() == slot.register.name
        assert (int(fields[b"bitsize"]), int(fields[b"offset"])) == (
            slot.register.bits,
            slot.offset,
        )
    assert debugger.data(b"qRegisterInfo%x" % len(X86_64.layout().slots)) == b"E45"


def test_lldb_gets_errors_in_its_own_form() -> None:
    debugger = Debugger(view_of())
    assert debugger.data(b"QEnableErrorStrings") == b"OK"
    code, words = debugger.data(b"m0,4").split(b";")
    assert code == b"E0e"
    assert b"cannot read memory at 0x0" in bytes.fromhex(words.decode())
