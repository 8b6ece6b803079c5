"""The dump as a source of types: kallsyms and BTF, told or found, or absent with a reason."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, I386
from kdump_gdbserver.domain.kernel.types import Member
from kdump_gdbserver.domain.symbols.dump_types import DumpTypes
from kdump_gdbserver.domain.symbols.first_task import find_init_task
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.btf_writer import BtfWriter
from tests.support.kallsyms_writer import lay_out

TEXT = 0xFFFF800008000000
STEXT = TEXT + 0x10000
TABLES = TEXT + 0x800000
BTF = TEXT + 0xA00000
DATA = TEXT + 0x1800000
INIT_TASK = DATA + 0x140
TASK_SIZE = 256
AT = {
    "cpu": 16, "on_cpu": 24, "tasks": 32, "pid": 48, "tgid": 52, "real_parent": 56, "parent": 64,
    "group_leader": 72, "comm": 80,
}  # fmt: skip
ARCHES = {"little": AARCH64, "big": copy.copy(AARCH64)}
ARCHES["big"].byte_order = "big"
byte_orders = pytest.mark.parametrize("order", ["little", "big"])


def btf(order: ByteOrder = "little", missing: str = "") -> bytes:
    w = BtfWriter(order)
    int_, char = w.integer("int", 4), w.integer("char", 1)
    comm = w.array(char, int_, 16)
    pointer = w.pointer(6)
    w.struct("list_head", 16, [("next", pointer, 0), ("prev", pointer, 64)])
    thread_info = w.struct("thread_info", 24, [("cpu", int_, 8 * AT["cpu"])])
    types = {"tasks": 5, "comm": comm} | dict.fromkeys(("real_parent", "parent"), pointer)
    members = [
        (name, types.get(name, pointer if name == "group_leader" else int_), 8 * at)
        for name, at in AT.items()
        if name not in ("cpu", missing)
    ]
    w.struct("task_struct", TASK_SIZE, [("thread_info", thread_info, 0), *members])
    return w.blob()


def functions() -> dict[str, int]:
    """Return the symbols of a kernel without CONFIG_KALLSYMS_ALL."""
    some = {f"{verb}_{n}": STEXT + 64 * n for n in range(200) for verb in "do get put".split()}
    some |= {f"sys_{n}_0123456789": STEXT + 64 * n + 32 for n in range(1500)}
    return some | {"_stext": STEXT, "_etext": TEXT + 0x700000, "_sinittext": TEXT + 0x1400000}


def task(order: ByteOrder, at: int, **values: int | bytes) -> bytes:
    raw = bytearray(TASK_SIZE)
    fields: Mapping[str, int | bytes] = {
        "real_parent": at, "parent": at, "group_leader": at, "comm": b"swapper/0", **values
    }  # fmt: skip
    for name, value in fields.items():
        start = AT["tasks"] + 8 if name == "prev" else AT["tasks"] if name == "next" else AT[name]
        if isinstance(value, int):
            size = 4 if name in ("cpu", "on_cpu", "pid", "tgid") else 8
            raw[start : start + size] = value.to_bytes(size, order)
        else:
            raw[start : start + len(value)] = value
    return bytes(raw)


OTHERS = (DATA + 0x4000, DATA + 0x5000)


def tasks(order: ByteOrder) -> dict[int, bytes]:
    """Return three tasks in a ring of theirs; CPU 0 runs the first other one."""
    ring = (INIT_TASK, *OTHERS)
    node = AT["tasks"]
    return {
        at: task(
            order, at, next=ring[(n + 1) % 3] + node, prev=ring[n - 1] + node, pid=n, tgid=n,
            cpu=n // 2, on_cpu=int(n > 0), comm=b"swapper/0" if n == 0 else b"init",
        )
        for n, at in enumerate(ring)
    }  # fmt: skip


def data_of(pieces: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return the kernel's data with pieces of it as given, the rest full of a name."""
    data = bytearray(b"swapper/0".ljust(512, b"\0") * (0x20000 // 512))
    for at, piece in pieces.items():
        data[at - DATA : at - DATA + len(piece)] = piece
    return {DATA: bytes(data)}


def memory_of(
    order: ByteOrder = "little", symbols: Mapping[str, int] | None = None, **changed: bytes
) -> SegmentedAddressSpace:
    tables, _ = lay_out(symbols or functions(), STEXT, TABLES, "6.2-6.3", order)
    parts = {"tables": (TABLES, tables), "btf": (BTF, btf(order))}
    segments = {at: changed.get(name, data) for name, (at, data) in parts.items()}
    decoy = task(order, DATA + 0x2000, pid=0, next=0, prev=0)
    return SegmentedAddressSpace(
        {STEXT: b"\0" * 4096, **segments, **data_of(tasks(order) | {DATA + 0x2000: decoy})}
    )


def info(**symbols: int) -> Vmcoreinfo:
    known = {"_stext": STEXT} | symbols
    lines = {f"SYMBOL({name})": f"{at:x}" for name, at in known.items()}
    return Vmcoreinfo(lines | {"NUMBER(MODULES_END)": hex(TEXT), "KERNELOFFSET": "0"})


@byte_orders
def test_a_dump_with_functions_only_tells_types_too(order: ByteOrder) -> None:
    types = DumpTypes(memory_of(order), info(init_uts_ns=DATA + 8), ARCHES[order])
    assert types.source == "symbols from the dump's kallsyms (2,103), types from its BTF (7)"
    assert types.symbol("do_7") == STEXT + 64 * 7
    assert types.symbol("init_uts_ns") == DATA + 8  # VMCOREINFO's
    assert types.symbol("_text") == TEXT
    assert types.symbols(("do_7", "_text", "nothing")) == {"do_7": STEXT + 448, "_text": TEXT}
    assert types.size("struct task_struct") == TASK_SIZE
    assert types.member("struct task_struct", "tasks.prev") == Member(40, 8, "pointer")
    assert types.problems == []


@byte_orders
def test_btf_is_read_from_where_its_symbols_are(order: ByteOrder) -> None:
    marks = {"__start_BTF": BTF, "__stop_BTF": BTF + len(btf(order))}
    types = DumpTypes(memory_of(order, functions() | marks), info(), ARCHES[order])
    assert types.size("struct task_struct") == TASK_SIZE
    wrong = {"__start_BTF": BTF, "__stop_BTF": BTF - 8}
    types = DumpTypes(memory_of(order, functions() | wrong), info(), ARCHES[order])
    assert types.size("struct task_struct") is None
    assert types.problems == ["BTF: its size is said to be -8"]


def test_without_kallsyms_there_are_types_and_what_vmcoreinfo_tells() -> None:
    types = DumpTypes(memory_of(tables=b"x"), info(), ARCHES["little"])
    assert types.size("struct task_struct") == TASK_SIZE
    assert types.symbol("_stext") == STEXT
    assert types.symbol("do_7") is None
    assert types.source == (
        "symbols from VMCOREINFO only, types from its BTF (7); "
        "kallsyms: no table of tokens is found"
    )


def test_without_btf_there_are_symbols() -> None:
    types = DumpTypes(memory_of(btf=btf()[:100]), info(), ARCHES["little"])
    assert types.symbol("do_7") == STEXT + 448
    assert types.size("struct task_struct") is None
    assert types.member("struct task_struct", "pid") is None
    assert types.source == (
        "symbols from the dump's kallsyms (2,103), no types; "
        "BTF: none is found in the kernel's read-only data"
    )


def test_nothing_at_all() -> None:
    types = DumpTypes(SegmentedAddressSpace({}), Vmcoreinfo({}), ARCHES["little"])
    assert (types.symbol("x"), types.size("struct x"), types.member("struct x", "y")) == (None,) * 3
    assert types.source == (
        "symbols from VMCOREINFO only, no types; "
        "kallsyms: VMCOREINFO does not tell where the kernel is; "
        "BTF: VMCOREINFO does not tell where the kernel is"
    )
    assert "64-bit" in DumpTypes(memory_of(), info(), I386).source


def test_a_name_of_two_symbols_is_not_answered_for_by_vmcoreinfo() -> None:
    types = DumpTypes(memory_of(), info(do_7=STEXT + 448), ARCHES["little"])
    assert types.symbol("do_7") == STEXT + 448
    assert types.symbol("do_8") == STEXT + 512


@pytest.mark.parametrize(
    ("end", "offset", "stext", "text"),
    [
        (TEXT, 0, STEXT, TEXT),
        (TEXT, 0x2640A2200000, STEXT + 0x2640A2200000, TEXT + 0x2640A2200000),
        (TEXT, 0, TEXT + 0x1000, TEXT),
        (TEXT, 0, TEXT, None),
        (TEXT, 0, TEXT + 0x11000, None),
        (TEXT, 0x200000, STEXT, None),
        (TEXT, 0, TEXT + 0x1234, None),
    ],
)
def test_where_the_head_of_the_kernel_begins(
    end: int, offset: int, stext: int, text: int | None
) -> None:
    lines = {"NUMBER(MODULES_END)": hex(end), "KERNELOFFSET": f"{offset:x}"}
    find, nothing = AARCH64.first_segment, SegmentedAddressSpace({})
    assert find is not None
    code = {"SYMBOL(_stext)": f"{stext:x}"}
    assert find(Vmcoreinfo(lines | code), nothing) == text
    assert find(Vmcoreinfo(lines), nothing) is find(Vmcoreinfo(code), nothing) is None
    if text is not None:
        head = SegmentedAddressSpace({text: bytes(56) + b"ARM\x64"})
        other = SegmentedAddressSpace({text: bytes(64)})
        assert find(Vmcoreinfo(lines | code), head) == text
        assert find(Vmcoreinfo(lines | code), other) is None


@byte_orders
def test_the_first_task_is_found(order: ByteOrder) -> None:
    memory = memory_of(order)
    types = DumpTypes(memory, info(), ARCHES[order])
    assert find_init_task(memory, types, order, STEXT, TEXT + 0x2000000) == INIT_TASK
    assert types.symbol("init_task") == INIT_TASK


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 1}, {"tgid": 1}, {"parent": OTHERS[0]}, {"real_parent": 0}, {"group_leader": 8},
        {"comm": b"swapperd\0"}, {"comm": b"swapper/1\0"}, {"next": OTHERS[1] + 8},
        {"prev": OTHERS[0] + AT["tasks"]}, {"next": 0}, {"prev": 1},
    ],
)  # fmt: skip
def test_what_is_not_quite_the_first_task_is_not_taken_for_it(change: dict[str, int]) -> None:
    ring = {"next": OTHERS[0] + AT["tasks"], "prev": OTHERS[1] + AT["tasks"]}
    pieces = tasks("little") | {INIT_TASK: task("little", INIT_TASK, **(ring | change))}
    memory = SegmentedAddressSpace({BTF: btf(), **data_of(pieces)})
    types = DumpTypes(memory, info(), ARCHES["little"])
    assert find_init_task(memory, types, "little", STEXT, TEXT + 0x2000000) is None


def test_memory_full_of_its_name_takes_bounded_time() -> None:
    memory = SegmentedAddressSpace({BTF: btf(), DATA: b"swapper\0" * (1 << 20)})
    types = DumpTypes(memory, info(), ARCHES["little"])
    started = time.thread_time()
    assert find_init_task(memory, types, "little", STEXT, TEXT + 0x4000000) is None
    assert time.thread_time() - started < 2  # measured: 20 ms


def test_two_first_tasks_are_none() -> None:
    twin = DATA + 0x8000
    ring = {"next": twin + AT["tasks"], "prev": twin + AT["tasks"]}
    memory = SegmentedAddressSpace(
        {BTF: btf(), **data_of({twin: task("little", twin, **ring)} | tasks("little"))}
    )
    types = DumpTypes(memory, info(), ARCHES["little"])
    assert find_init_task(memory, types, "little", STEXT, TEXT + 0x2000000) is None
    assert find_init_task(memory, types, "little", twin, twin + 0x1000) == twin


@pytest.mark.parametrize("missing", ["comm", "pid", "tasks", "group_leader"])
def test_without_a_member_no_task_is_looked_for(missing: str) -> None:
    memory = memory_of(btf=btf(missing=missing))
    types = DumpTypes(memory, info(), ARCHES["little"])
    assert find_init_task(memory, types, "little", STEXT, TEXT + 0x2000000) is None


class Damaged(AddressSpace):
    """Memory some bytes of which are others."""

    def __init__(self, memory: AddressSpace, bytes_at: Mapping[int, int]) -> None:
        self._memory, self._bytes = memory, bytes_at

    def read(self, address: int, length: int) -> bytes:
        data = bytearray(self._memory.read(address, length))
        for at, value in self._bytes.items():
            if address <= at < address + len(data):
                data[at - address] = value
        return bytes(data)


places = st.one_of(
    st.integers(TABLES, TABLES + 60000), st.integers(BTF, BTF + 700),
    st.integers(INIT_TASK, INIT_TASK + TASK_SIZE),
)  # fmt: skip


@given(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=10))
@settings(max_examples=40, deadline=None)
def test_damage_gives_answers_or_none_and_never_an_error(damage: dict[int, int]) -> None:
    memory = Damaged(memory_of(), damage)
    types = DumpTypes(memory, info(), ARCHES["little"])
    for name in ("do_7", "_text", "nothing"):
        types.symbol(name)
    types.member("struct task_struct", "tasks.next")
    found = find_init_task(memory, types, "little", STEXT, TEXT + 0x2000000)
    assert found in (None, INIT_TASK)
    assert "\n" not in types.source
