"""The pcs of user programs on the kernel's stacks (x86_64)."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.user_pcs import interrupted_pcs
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace

STACK, TASK, OTHER = 1 << 14, 0xFFFF_C900_0001_0000, 0xFFFF_C900_0008_0000
PC, SP = 0x7F12_3456_789A, 0x7FFF_1234_5678
user_pcs = st.integers(1, (1 << 56) - 1)
codes, words = st.sampled_from([0x23, 0x33]), st.integers(0, (1 << 48) - 1)


def words_of(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def stack_with(frame: bytes, after: bytes = b"") -> bytes:
    return (frame + after).rjust(STACK, b"\0")


def found(running: list[int], sleeping: list[int], *stacks: tuple[int, bytes]) -> list[int]:
    return list(interrupted_pcs(SegmentedAddressSpace(dict(stacks)), running, sleeping))


@given(user_pcs, codes, words, st.sampled_from([0, 16]), st.integers(0, STACK - 256))
def test_of_a_running_and_of_a_sleeping_task(
    pc: int, code: int, flags: int, padding: int, depth: int
) -> None:
    stack = stack_with(words_of(pc, code, flags, SP, 0x2B), bytes(padding))
    assert found([TASK + depth], [], (TASK, stack)) == [pc]
    assert set(found([], [TASK + depth], (TASK, stack))) == {pc}


def test_of_a_cpu_on_another_stack_by_the_word_at_its_end() -> None:
    task = stack_with(words_of(PC, 0x33, 0x246, SP, 0x2B))
    other = stack_with(words_of(TASK + 0x100))
    assert found([OTHER + 0x1000], [], (TASK, task), (OTHER, other)) == [PC]


def test_with_what_fred_adds_to_the_selectors() -> None:
    stack = stack_with(words_of(PC, 1 << 40 | 0x33, 0x246, SP, 1 << 57 | 0x2B), bytes(16))
    assert found([TASK], [], (TASK, stack)) == [PC]


@given(st.integers(0, 4), st.sampled_from([0x10, 0x18, 1 << 63]))
def test_what_is_no_frame_of_user_mode_is_not_taken(place: int, other: int) -> None:
    values = [PC, 0x33, 0x246, SP, 0x2B]
    values[place] = other if place in (1, 4) else 1 << 63
    pcs = found([TASK], [TASK], (TASK, stack_with(words_of(*values))))
    assert pcs == ([] if place != 2 else [PC] * len(pcs))


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_stack_pointers_that_lead_nowhere_give_nothing(running: int, sleeping: int) -> None:
    assert found([running], [sleeping], (1 << 20, b"\x2b" * 64)) == []


@given(st.lists(st.sampled_from([0x2B, 0x33, PC, SP, 1 << 63]), max_size=64))
def test_each_pc_that_is_found_stands_on_the_stack(values: list[int]) -> None:
    pcs = found([TASK], [TASK], (TASK, stack_with(words_of(*values))))
    assert set(pcs) <= set(values) - {1 << 63}
