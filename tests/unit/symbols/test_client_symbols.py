"""Symbols that are not the dumped kernel's are noticed by what gdb answers, and said."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from kdump_gdbserver.application.client_symbols import ClientSymbols
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import Debugger

INFO = Vmcoreinfo({"SYMBOL(init_uts_ns)": "ffffffff82a00000", "SYMBOL(_stext)": "ffffffff81000000"})
AT = 0xFFFFFFFF82A00000


def test_a_symbol_elsewhere_is_wrong_until_it_is_right() -> None:
    client = ClientSymbols(INFO)
    assert client.wanted == ("init_uts_ns", "_stext")
    assert client.tell("_stext", 0xFFFFFFFF81000000) is None
    problem = client.tell("init_uts_ns", AT + 8)
    assert problem is not None
    assert (
        "init_uts_ns is at 0xffffffff82a00008 there, at 0xffffffff82a00000 in the dump" in problem
    )
    assert client.problem == problem
    assert client.tell("_stext", 0xFFFFFFFF81000000) is None  # said already
    assert client.tell("init_uts_ns", AT) is None
    assert client.problem is None
    assert client.tell("init_uts_ns", AT + 8) == problem


@pytest.mark.parametrize("name", ["init_uts_ns", "_stext", "another"])
def test_a_symbol_that_the_debugger_lacks_proves_nothing(name: str) -> None:
    client = ClientSymbols(INFO)
    assert client.tell(name, None) is None
    assert client.problem is None


def test_a_symbol_where_it_was_linked_may_be_about_to_be_moved() -> None:
    client = ClientSymbols(Vmcoreinfo({**INFO.lines, "KERNELOFFSET": "1000000"}))
    assert client.tell("init_uts_ns", AT - 0x1000000) is None
    assert client.tell("init_uts_ns", AT) is None
    assert client.tell("init_uts_ns", AT + 0x1000000) is not None


def test_nothing_is_asked_where_the_dump_tells_nothing() -> None:
    assert list(ClientSymbols(Vmcoreinfo({})).wanted) == []


def test_gdb_is_asked_and_monitor_info_and_the_log_say_it() -> None:
    kernel = fake_kernel().with_vmcoreinfo(lambda text: f"{text}SYMBOL(init_uts_ns)={AT:x}\n")
    debugger = Debugger(open_kernel_view(kernel.dump()))
    name = b"init_uts_ns".hex().encode()
    assert debugger.data(b"qSymbol::") == b"qSymbol:" + name
    assert "wrong symbols" not in debugger.monitor("info")
    with capture_logs() as logs:
        reply = debugger.data(b"qSymbol:%x:" % (AT + 16) + name)
        while reply != b"OK":
            reply = debugger.data(b"qSymbol::" + reply.split(b":")[1])
    assert [each["event"] for each in logs] == ["wrong symbols"]
    assert f"init_uts_ns is at {AT + 16:#x} there" in debugger.monitor("info")
