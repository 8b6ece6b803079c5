"""Packets that only LLDB sends, and those that are known and not supported."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import BY_WORD
from kdump_gdbserver.adapters.rsp_tcp.packets.general import unsupported
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.arch import AARCH64, RISCV64, X86_64, Arch
from kdump_gdbserver.domain.threads import Thread
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import Debugger, thread_of, view_of


def lldb(
    *threads: Thread,
    arch: Arch = X86_64,
    segments: Mapping[int, bytes] | None = None,
    addressing_bits: int | None = None,
) -> Debugger:
    """A client that begins as LLDB does."""
    return begun(Debugger(view_of(segments, threads, arch=arch, addressing_bits=addressing_bits)))


def begun(debugger: Debugger) -> Debugger:
    assert debugger.data(b"QStartNoAckMode") == b"OK"
    debugger.acknowledged = False
    debugger.data(b"qSupported:xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+")
    for packet in (b"QThreadSuffixSupported", b"QListThreadsInStopReply", b"QEnableErrorStrings"):
        assert debugger.data(packet) == b"OK"
    return debugger


def fields(reply: bytes) -> dict[str, str]:
    return dict(part.split(":", 1) for part in reply.decode().rstrip(";").split(";"))


def words(reply: bytes) -> str:
    number, _, text = reply.partition(b";")
    assert number[:1] == b"E"
    assert len(number) == 3
    return bytes.fromhex(text.decode()).decode()


@pytest.mark.parametrize("arch", [X86_64, AARCH64, RISCV64], ids=lambda arch: arch.name)
def test_host_and_process(arch: Arch) -> None:
    debugger = lldb(arch=arch)
    host, process = fields(debugger.data(b"qHostInfo")), fields(debugger.data(b"qProcessInfo"))
    for info in (host, process):
        assert bytes.fromhex(info["triple"]).decode() == arch.triple
        assert info["triple"]
        assert (info["endian"], info["ptrsize"]) == (arch.byte_order, str(arch.pointer_size))
    assert process["pid"] == "1"


def test_the_bits_of_an_address_are_told_where_others_hold_a_code() -> None:
    assert (
        fields(lldb(arch=AARCH64, addressing_bits=48).data(b"qHostInfo"))["addressing_bits"] == "48"
    )
    assert "addressing_bits" not in fields(lldb(arch=AARCH64).data(b"qHostInfo"))


def test_the_stop_reply_names_the_thread_and_lists_all() -> None:
    debugger = lldb(thread_of(1, extra="CPU #0; idle"), thread_of(2, name="sh", extra="pid 2"))
    stop = fields(debugger.data(b"?"))
    assert bytes.fromhex(stop["hexname"]).decode() == "CPU #0; idle"
    assert stop["threads"] == "1,2"
    other = debugger.data(b"qThreadStopInfo2")
    assert other.startswith(b"T00")
    assert bytes.fromhex(fields(other)["hexname"]).decode() == "sh"


def test_threads_as_json() -> None:
    debugger = lldb(thread_of(1, extra='pid 1 "a}b#"'), thread_of(2, {}), arch=X86_64)
    first, second = json.loads(debugger.data(b"jThreadsInfo"))
    assert (first["tid"], first["name"], first["reason"]) == (1, 'pid 1 "a}b#"', "signal")
    assert first["registers"]["16"] == (0x1000).to_bytes(8, "little").hex()
    assert second["registers"] == {}
    assert "reason" not in second


def test_the_thread_suffix_chooses_the_thread() -> None:
    debugger = lldb(thread_of(1), thread_of(2))
    assert debugger.data(b"p10;thread:0002;") == (0x2000).to_bytes(8, "little").hex().encode()
    assert debugger.data(b"p10;thread:1;") == (0x1000).to_bytes(8, "little").hex().encode()
    assert debugger.data(b"g;thread:2;") != debugger.data(b"g")
    assert words(debugger.data(b"p10;thread:9;")) == "no thread 9"


def test_a_register_that_is_not_known_is_an_error() -> None:
    assert words(lldb().data(b"p0;thread:1;")) == "the register is not in the dump"


def test_offsets_in_the_form_lldb_applies() -> None:
    kernel = fake_kernel(kaslr=0x1E000000)
    debugger = begun(Debugger(open_kernel_view(kernel.dump())))
    assert debugger.data(b"qOffsets") == b"Text=1e000000;Data=1e000000;Bss=1e000000"


def test_older_binary_reads_have_no_prefix() -> None:
    debugger = lldb(segments={0x1000: b"data#$}*"})
    assert debugger.data(b"x0,0") == b"OK"
    assert debugger.data(b"x1000,8") == b"data#$}*"


def test_newer_binary_reads_have_one() -> None:
    """LLDB 21 and later see binary-upload+ and do not ask by x0,0."""
    debugger = lldb(segments={0x1000: b"data#$}*"})
    assert debugger.data(b"x1000,8") == b"bdata#$}*"


def test_small_questions() -> None:
    debugger = lldb()
    assert words(debugger.data(b"qGetWorkingDir")) == "a crash dump has no working directory"
    assert debugger.data(b"qGDBServerVersion") == b"name:kdump-gdbserver;"


@pytest.mark.parametrize(
    "word", [word for word, handler in BY_WORD.items() if handler is unsupported], ids=bytes.decode
)
@pytest.mark.parametrize("rest", [b"", b":1", b";p1.1"])
def test_what_is_known_and_not_supported(word: bytes, rest: bytes) -> None:
    assert lldb().data(word + rest) == b""


@pytest.mark.parametrize("packet", [b"_M1000,rw", b"QSaveRegisterState", b"qUserName:0", b"jFoo"])
def test_what_is_not_known_gets_the_empty_reply(packet: bytes) -> None:
    assert lldb().data(packet) == b""
