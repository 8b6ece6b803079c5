"""The protocol and the log on made-up architectures of every address width and byte order."""

from __future__ import annotations

import json
import struct

import pytest

from kdump_gdbserver.domain.address_space import ByteOrder, SegmentedAddressSpace
from kdump_gdbserver.domain.arch.model import Arch, Feature, Register
from kdump_gdbserver.domain.printk import kernel_log
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.sessions import GDB, Debugger, thread_of, view_of


def made_up(size: int, byte_order: ByteOrder) -> Arch:
    """An architecture with three registers of pointer width and one half as wide."""
    bits = 8 * size
    registers = (
        Register("r0", bits),
        Register("stack", bits, "data_ptr", role="sp"),
        Register("status", bits // 2, role="flags"),
        Register("counter", bits, "code_ptr", role="pc"),
    )
    return Arch(
        name=f"made-up-{size}-{byte_order}",
        gdb_name="none",
        pointer_size=size,
        features=(Feature("org.example.core", registers),),
        pc="counter",
        sp="stack",
        elf_machine=0,
        byte_order=byte_order,
        triple="madeup-unknown-linux",
    )


ARCHES = [made_up(size, order) for size in (4, 8) for order in ("little", "big")]
every_arch = pytest.mark.parametrize("arch", ARCHES, ids=lambda arch: arch.name)


def hexed(arch: Arch, value: int, size: int | None = None) -> bytes:
    return value.to_bytes(size or arch.pointer_size, arch.byte_order).hex().encode()


@every_arch
def test_registers_memory_and_threads(arch: Arch) -> None:
    top, end = arch.pointer_mask - 4095, b"end of the space"
    values = {"r0": arch.pointer_mask, "stack": 0x1234, "status": 0x56, "counter": 0x789A}
    view = view_of(
        {0x1000: b"\x01\x02\x03\x04", top: end.rjust(4096)},
        [thread_of(1, values, arch=arch), thread_of(2, {}, arch=arch)],
        arch=arch,
    )
    debugger = Debugger(view)
    debugger.start(*GDB)
    half = arch.pointer_size // 2
    whole = (hexed(arch, arch.pointer_mask) + hexed(arch, 0x1234) + hexed(arch, 0x56, half)
             + hexed(arch, 0x789A))  # fmt: skip
    assert debugger.data(b"g") == whole
    assert debugger.data(b"p2") == hexed(arch, 0x56, half)
    stop = debugger.data(b"?")
    assert b"3:%b;" % hexed(arch, 0x789A) in stop
    assert b"1:%b;" % hexed(arch, 0x1234) in stop
    assert debugger.data(b"m1000,4") == b"01020304"
    assert debugger.data(b"m%x,20" % (top + 4080)) == end.hex().encode()
    search = b"qSearch:memory:%x;%x;space" % (top - 0x1000, 1 << 63)  # beyond the last address
    assert debugger.data(search) == b"1,%x" % (top + 4091)
    assert b'bitsize="%d"' % (8 * half) in debugger.object(b"features", b"target.xml")
    assert debugger.data(b"Hgp1.2") == b"OK"
    assert debugger.data(b"g") == b"x" * len(whole)


@every_arch
def test_what_lldb_asks(arch: Arch) -> None:
    view = view_of({}, [thread_of(1, {"counter": 0x789A}, arch=arch)], arch=arch)
    debugger = Debugger(view)
    assert debugger.data(b"QThreadSuffixSupported") == b"OK"
    info = debugger.data(b"qHostInfo")
    assert b"endian:%b;ptrsize:%d;" % (arch.byte_order.encode(), arch.pointer_size) in info
    [thread] = json.loads(debugger.data(b"jThreadsInfo"))
    assert thread["registers"] == {"3": hexed(arch, 0x789A).decode()}
    assert b"generic:pc;" in debugger.data(b"qRegisterInfo3")
    assert debugger.data(b"p0;thread:1;") == b"E16"


@every_arch
def test_the_kernel_log_in_records(arch: Arch) -> None:
    order = "<" if arch.byte_order == "little" else ">"
    pointer = "I" if arch.pointer_size == 4 else "Q"
    record = struct.pack(order + "QHHHxx", 1_500_000_000, 32, 12, 0) + b"Kernel panic\0\0\0\0"
    segments = {
        0x1000: struct.pack(order + pointer, 0x2000),
        0x1010: struct.pack(order + "I", 256),
        0x1020: struct.pack(order + "I", 0),
        0x1030: struct.pack(order + "I", len(record)),
        0x2000: record.ljust(256, b"\0"),
    }
    names = ("log_buf", "log_buf_len", "log_first_idx", "log_next_idx")
    info = "".join(f"SYMBOL({name})={0x1000 + 16 * i:x}\n" for i, name in enumerate(names))
    info += "SIZE(printk_log)=16\nOFFSET(printk_log.ts_nsec)=0\nOFFSET(printk_log.len)=8\n"
    info += "OFFSET(printk_log.text_len)=10\n"
    memory = SegmentedAddressSpace(segments)
    [found] = kernel_log(memory, Vmcoreinfo.parse(info.encode()), arch)
    assert found is not None
    assert (found.nanoseconds, found.text) == (1_500_000_000, "Kernel panic")
