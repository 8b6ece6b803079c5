"""Interrupt stacks are continued into guard pages, and nothing of the dump is hidden."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.irq_stacks import ContinuedStacks, interrupted_stacks
from kdump_gdbserver.application.kernel_symbols import KernelSymbols
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, X86_64, Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

ENTRY_TEXT = 0xFFFFFFFF81C00000
STACK = 0xFFFFC900000D5000  # the interrupt stack of CPU 1
TOP = STACK + 0x4000
GUARD = TOP
SAVED = 0xFFFFC9000009BE18  # the interrupted stack: rbx, rbp, return address, pt_regs ...
PER_CPU = (0xFFFF888001000000, 0xFFFF888001080000)
OFFSETS, IDS = 0xFFFFFFFF82000000, 0xFFFFFFFF82001000
RETURN_TO_ENTRY = ENTRY_TEXT + 0xF46
RETURN_TO_C = 0xFFFFFFFF8109D030
SYMBOLS = {
    "__per_cpu_offset": OFFSETS,
    "nr_cpu_ids": IDS,
    "__entry_text_start": ENTRY_TEXT,
    "__entry_text_end": ENTRY_TEXT + 0x19D7,
}
SEPARATE = SYMBOLS | {"hardirq_stack_ptr": 0x1FB48, "hardirq_stack_inuse": 0x1FB44}
HOT = SYMBOLS | {"pcpu_hot": 0x35000}
# Where those have the pointer and the flag.
LAYOUTS = [(SEPARATE, 0x1FB48, 0x1FB44), (HOT, 0x35018, 0x35022), (HOT, 0x35020, 0x3502A)]
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=["symbols", "hot", "hot, deeper"])
Layout = tuple[dict[str, int], int, int]


def frame(return_address: int) -> bytes:
    """What the interrupted stack holds from SAVED on."""
    words = [0x1111, 3, return_address, *range(0x100, 0x100 + 21)]
    return struct.pack(f"<{len(words)}Q", *words).ljust(0x400, b"\xee")


def kernel(
    layout: Layout, *, in_use: bytes = b"\x01", return_address: int = RETURN_TO_ENTRY
) -> dict[int, bytes]:
    """Return memory in which CPU 1 may be on its interrupt stack."""
    _, pointer, flag = layout
    area = bytearray(0x40)
    start = min(pointer, flag) & ~0x3F
    area[pointer - start : pointer - start + 8] = struct.pack("<Q", TOP - 8)
    idle = bytes(area)
    area[flag - start : flag - start + 1] = in_use
    return {
        OFFSETS: struct.pack("<QQ", *PER_CPU),
        IDS: struct.pack("<I", 2),
        PER_CPU[0] + start: idle,
        PER_CPU[1] + start: bytes(area),
        TOP - 8: struct.pack("<Q", SAVED),
        SAVED: frame(return_address),
    }


def pages_of(
    segments: dict[int, bytes], symbols: dict[str, int], arch: Arch = X86_64
) -> dict[int, bytes]:
    memory = SegmentedAddressSpace(segments)
    known = KernelSymbols(
        memory,
        Vmcoreinfo.parse(b"OSRELEASE=6.6.0\n"),
        "little",
        lambda names: {name: symbols[name] for name in names if name in symbols},
    )
    return interrupted_stacks(memory, known, arch)


@every_layout
def test_the_rest_of_the_interrupted_frame_follows_the_stack(layout: Layout) -> None:
    segments = kernel(layout)
    pages = pages_of(segments, layout[0])
    assert list(pages) == [GUARD]
    space = ContinuedStacks(SegmentedAddressSpace(segments), pages)
    expected = frame(RETURN_TO_ENTRY)[8:]
    assert len(pages[GUARD]) >= 8 + 8 + 168  # rbp, return address, pt_regs
    assert space.read(GUARD, 168 + 16) == expected[: 168 + 16]
    # A read that starts on the stack itself goes on into the page.
    assert space.read(TOP - 8, 24) == struct.pack("<Q", SAVED) + expected[:16]


@pytest.mark.parametrize("in_use", [b"\x00", b"\x02", b"\xff"])
@every_layout
def test_a_stack_that_is_not_in_use_ends_where_it_ends(layout: Layout, in_use: bytes) -> None:
    assert pages_of(kernel(layout, in_use=in_use), layout[0]) == {}


@pytest.mark.parametrize("address", [RETURN_TO_C, 0xFFFFFFFFC0201234, 0])
@every_layout
def test_only_frames_that_entry_code_called_are_continued(layout: Layout, address: int) -> None:
    assert pages_of(kernel(layout, return_address=address), layout[0]) == {}


def test_a_page_of_the_dump_is_not_covered() -> None:
    segments = kernel(LAYOUTS[0]) | {GUARD: b"the dump's own"}
    assert pages_of(segments, SEPARATE) == {}
    space = ContinuedStacks(SegmentedAddressSpace(segments), {GUARD: b"x" * 64})
    assert space.read(GUARD, 14) == b"the dump's own"


@pytest.mark.parametrize("gone", [OFFSETS, IDS, TOP - 8, SAVED])
def test_what_is_missing_means_nothing_to_show(gone: int) -> None:
    segments = kernel(LAYOUTS[0])
    segments.pop(gone)
    assert pages_of(segments, SEPARATE) == {}


@pytest.mark.parametrize("gone", sorted(SEPARATE))
def test_without_a_symbol_there_is_nothing_to_show(gone: str) -> None:
    symbols = {name: address for name, address in SEPARATE.items() if name != gone}
    assert pages_of(kernel(LAYOUTS[0]), symbols) == {}


def test_other_architectures_have_none() -> None:
    assert pages_of(kernel(LAYOUTS[0]), SEPARATE, AARCH64) == {}


def test_an_unreadable_cpu_does_not_hide_another() -> None:
    segments = kernel(LAYOUTS[0])
    segments.pop(PER_CPU[0] + 0x1FB40)
    assert list(pages_of(segments, SEPARATE)) == [GUARD]


@given(st.data(), st.sampled_from(LAYOUTS))
def test_damaged_memory_never_raises(data: st.DataObject, layout: Layout) -> None:
    segments = kernel(layout)
    for address, content in segments.items():
        changed = bytearray(content)
        for _ in range(data.draw(st.integers(0, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        segments[address] = bytes(changed)
    for page, content in pages_of(segments, layout[0]).items():
        assert page % 4096 == 0
        assert content


_SPAN = 3 * 4096


@given(
    st.dictionaries(st.sampled_from([0, 4096, 8192]), st.binary(min_size=1, max_size=40)),
    st.sets(st.integers(0, _SPAN // 8)),
    st.integers(0, _SPAN),
    st.integers(1, _SPAN),
)
def test_what_can_be_read_below_is_read_there(
    pages: dict[int, bytes], present: set[int], address: int, length: int
) -> None:
    below = SegmentedAddressSpace({8 * cell: b"dumpdump" for cell in present})
    space = ContinuedStacks(below, pages)
    try:
        truth = below.read(address, length)
    except MemoryFault:
        truth = b""
    try:
        data = space.read(address, length)
    except MemoryFault:
        data = b""
    assert data[: len(truth)] == truth
    at = address + len(truth)
    page = pages.get(at - at % 4096, b"")
    assert data[len(truth) :] == page[at % 4096 :][: length - len(truth)]
