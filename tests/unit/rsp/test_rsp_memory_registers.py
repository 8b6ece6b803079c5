"""What `m`, `g` and `p` tell is what the dump holds, to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE
from kdump_gdbserver.domain.arch import ARCHITECTURES, COMPAT, X86_64, Arch
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import Thread, ThreadId
from tests.support.sessions import GDB, Debugger, thread_of, view_of
from tests.support.strategies import register_values

every_arch = pytest.mark.parametrize(
    "arch", (*ARCHITECTURES.values(), *COMPAT.values()), ids=lambda arch: arch.name
)
BASE = 0xFFFFFFFF81000000


@st.composite
def memories(draw: st.DrawFn) -> dict[int, bytes]:
    """Segments above `BASE`, with and without holes between them."""
    segments, at = {}, BASE + draw(st.integers(0, 16))
    for _ in range(draw(st.integers(1, 5))):
        data = draw(st.binary(min_size=1, max_size=40))
        segments[at] = data
        at += len(data) + draw(st.sampled_from([0, 0, 1, 30]))
    return segments


@given(memories(), st.integers(-8, 200), st.one_of(st.integers(0, 200), st.just((1 << 64) - 1)))
def test_memory_is_the_dumps_up_to_the_first_hole(
    segments: dict[int, bytes], start: int, length: int
) -> None:
    cells = {at + i: byte for at, data in segments.items() for i, byte in enumerate(data)}
    address, expected = BASE + start, bytearray()
    while len(expected) < length and address + len(expected) in cells:
        expected.append(cells[address + len(expected)])
    debugger = Debugger(view_of(segments))
    reply = debugger.data(b"m%x,%x" % (address, length))
    if expected or not length:
        assert expected.hex().encode() == reply
    else:
        assert reply == b"E0e"
        debugger.start(*GDB)
        words = debugger.data(b"m%x,%x" % (address, length))
        assert b"E.cannot read memory at 0x%x: address is not mapped" % address == words


runs = st.lists(
    st.tuples(
        st.sampled_from([b"\0", b"\xff", b"\xcc", b"\x0f", b"\xf0", b"\1"]), st.integers(1, 5000)
    )
)


@given(runs, st.binary(max_size=20), st.integers(0, 30))
def test_memory_that_repeats_is_the_dumps_too(
    pieces: list[tuple[bytes, int]], noise: bytes, start: int
) -> None:
    data = noise + b"".join(byte * count + noise for byte, count in pieces)
    debugger = Debugger(view_of({BASE: data or b"x"}))
    if start < len(data):
        assert debugger.data(b"m%x,%x" % (BASE + start, len(data))) == data[start:].hex().encode()


def test_an_enormous_length_is_cut_to_what_a_packet_holds() -> None:
    data = bytes(range(256)) * (PACKET_SIZE // 256)
    debugger = Debugger(view_of({BASE: data}))
    for length in (len(data), (1 << 64) - 1):
        reply = debugger.data(b"m%x,%x" % (BASE, length))
        assert PACKET_SIZE - 8 <= len(reply) <= PACKET_SIZE
        assert data[: len(reply) // 2].hex().encode() == reply
    # A client that goes on from there gets everything.
    whole = b""
    while len(whole) < len(data):
        ask = b"m%x,%x" % (BASE + len(whole), len(data) - len(whole))
        whole += bytes.fromhex(debugger.data(ask).decode())
    assert data == whole


def expected_digits(arch: Arch, values: dict[str, int]) -> list[bytes]:
    """Return the digits of each register: its bytes in the target's order, or `x`."""
    return [
        values[slot.register.name].to_bytes(slot.register.size, arch.byte_order).hex().encode()
        if slot.register.name in values
        else b"xx" * slot.register.size
        for slot in arch.layout().slots
    ]


@every_arch
@given(st.data())
def test_registers_are_digits_where_known_and_x_elsewhere(arch: Arch, data: st.DataObject) -> None:
    all_values = data.draw(st.lists(register_values(arch.layout()), min_size=1, max_size=5))
    threads = [thread_of(i, values, arch=arch) for i, values in enumerate(all_values, 1)]
    debugger = Debugger(view_of(threads=threads, arch=arch))
    for number, values in data.draw(st.permutations(list(enumerate(all_values, 1)))):
        assert debugger.data(b"Hg%x" % number) == b"OK"
        digits = expected_digits(arch, values)
        assert b"".join(digits) == debugger.data(b"g")
        for register, expected in enumerate(digits):
            assert expected == debugger.data(b"p%x" % register)
    assert debugger.data(b"p%x" % len(arch.layout().slots)) == b"E16"


def test_the_x86_64_packet_byte_by_byte() -> None:
    """As gdb has laid it out since ever: amd64-linux-tdep.c names, i386 features of the manual."""
    values = {"rax": 0x1122334455667788, "rip": 0xFFFFFFFF81000000, "eflags": 0x246, "cs": 0x10,
              "gs": 7, "orig_rax": 0xFFFFFFFFFFFFFFFF, "gs_base": 0xFFFF888000000000}  # fmt: skip
    reply = Debugger(view_of(threads=[thread_of(1, values)])).data(b"g")
    vectors = 16 * 16 + 4
    assert len(reply) == 2 * (17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 3 * 8 + vectors)
    assert reply[:280] == b"8877665544332211" + b"x" * 240 + b"00000081ffffffff" + b"46020000"
    assert reply[280:552] == b"10000000" + b"x" * 32 + b"07000000" + b"x" * 224
    assert reply[552:600] == b"f" * 16 + b"x" * 16 + b"000000008088ffff"
    assert reply[600:] == b"xx" * vectors


@every_arch
def test_the_stop_reply_gives_thread_core_pc_and_sp(arch: Arch) -> None:
    values = {arch.pc: 0x1234, arch.sp: 0x5678}
    threads = [thread_of(1, {}, arch=arch), thread_of(2, values, arch=arch, core=3)]
    debugger = Debugger(view_of(threads=threads, arch=arch, current=1))
    slots = arch.layout().by_name
    expedited = b"%x:%b;%x:%b;" % (
        slots[arch.sp].number,
        (0x5678).to_bytes(arch.pointer_size, arch.byte_order).hex().encode(),
        slots[arch.pc].number,
        (0x1234).to_bytes(arch.pointer_size, arch.byte_order).hex().encode(),
    )
    assert b"T05" + expedited + b"thread:2;core:3;" == debugger.data(b"?")
    debugger.start(*GDB)
    assert b"T05" + expedited + b"thread:p1.2;core:3;" == debugger.data(b"?")


def test_the_stop_reply_of_a_thread_without_registers_is_bare() -> None:
    assert Debugger(view_of(threads=[thread_of(1, {})])).data(b"?") == b"T05thread:1;"


def test_asking_why_it_stopped_selects_the_current_thread_again() -> None:
    threads = [thread_of(i, {"rip": i}) for i in (1, 2)]
    debugger = Debugger(view_of(threads=threads, current=1))
    debugger.ask(b"Hg1")
    assert debugger.data(b"qC") == b"QC1"
    debugger.ask(b"?")
    assert debugger.data(b"qC") == b"QC2"
    assert debugger.data(b"p10") == b"0200000000000000"


def test_registers_are_loaded_when_first_looked_at() -> None:
    loaded: list[int] = []

    def thread(number: int) -> Thread:
        def load() -> RegisterSet:
            loaded.append(number)
            return RegisterSet.from_values(X86_64.layout(), {"rip": number})

        return Thread(ThreadId(1, number), load)

    threads = [thread(number) for number in (1, 2, 3)]
    debugger = Debugger(view_of(threads=threads))
    debugger.data(b"qfThreadInfo")
    debugger.object(b"threads")
    assert loaded == []
    debugger.data(b"Hg2")
    debugger.data(b"g")
    debugger.data(b"g")
    assert loaded == [2]
