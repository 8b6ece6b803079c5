"""The kernel's log in each of its three forms, written here as the kernel would write it."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.printk import LogRecord, kernel_log
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

VARIABLES, BUFFER, DESCS, INFOS, DATA = 0x1000, 0x10000, 0x20000, 0x40000, 0x80000
Message = tuple[int, str]


def log_of(segments: Mapping[int, bytes], info: str) -> list[LogRecord]:
    memory = SegmentedAddressSpace(dict(segments))
    found = list(kernel_log(memory, Vmcoreinfo.parse(info.encode()), X86_64))
    return [record for record in found if record is not None]


# --- plain text (before 3.5) -------------------------------------------------------------------

PLAIN = f"SYMBOL(log_buf)={VARIABLES:x}\nSYMBOL(log_buf_len)={VARIABLES + 8:x}\n"
PLAIN += f"SYMBOL(log_end)={VARIABLES + 16:x}\n"


def plain_text(text: bytes, size: int) -> dict[int, bytes]:
    """Print `text` into a ring of `size` bytes, as the kernel did until 3.4."""
    ring = bytearray(size)
    for at, byte in enumerate(text):
        ring[at % size] = byte
    variables = struct.pack("<QIxxxxI", BUFFER, size, len(text))
    return {VARIABLES: variables, BUFFER: bytes(ring)}


def test_plain_text() -> None:
    text = b"<6>[    0.000000] Linux version 2.6.32\n<4>[    1.5] second\n"
    records = log_of(plain_text(text, 256), PLAIN)
    assert [line for record in records for line in record.lines()] == text.decode().splitlines()


def test_plain_text_that_has_wrapped_begins_with_the_oldest_byte() -> None:
    text = b"".join(b"line %03d\n" % number for number in range(100))
    records = log_of(plain_text(text, 128), PLAIN)
    assert "".join(record.text + "\n" for record in records) == text[-128:].decode()


# --- records (3.5 to 5.9) ----------------------------------------------------------------------


def records_info(prefix: str) -> str:
    names = ("log_buf", "log_buf_len", "log_first_idx", "log_next_idx")
    lines = [f"SYMBOL({name})={VARIABLES + 8 * i:x}" for i, name in enumerate(names)]
    lines += [f"SIZE({prefix})=16", f"OFFSET({prefix}.ts_nsec)=0", f"OFFSET({prefix}.len)=8"]
    lines += [f"OFFSET({prefix}.text_len)=10", f"OFFSET({prefix}.dict_len)=12"]
    return "\n".join(lines) + "\n"


def records(messages: Sequence[Message], size: int) -> dict[int, bytes]:
    """Store messages in a ring of `size` bytes; old ones give way (kernel/printk of 4.19)."""
    ring, first, following = bytearray(size), 0, 0
    placed: list[tuple[int, int]] = []

    def room(needed: int) -> bool:
        free = max(size - following, first) if following >= first else first - following
        if not placed:
            free = size
        return free >= needed + 16

    for time, text in messages:
        raw = text.encode()
        length = -(-(16 + len(raw)) // 4) * 4
        while placed and not room(length):
            placed.pop(0)
            first = placed[0][0] if placed else following
        if following + length + 16 > size:
            ring[following : following + 16] = bytes(16)  # "go on at the start"
            following = 0
        ring[following : following + 16] = struct.pack("<QHHHxx", time, length, len(raw), 0)
        ring[following + 16 : following + length] = raw.ljust(length - 16, b"\0")
        placed.append((following, length))
        following += length
    variables = struct.pack("<QQQQ", BUFFER, size, first, following)
    return {VARIABLES: variables, BUFFER: bytes(ring)}


@pytest.mark.parametrize("prefix", ["printk_log", "log"])
def test_records(prefix: str) -> None:
    messages = [(0, "Linux version 4.19"), (1_234_567_890, "two\nlines"), (90_000_000_000, "end")]
    found = log_of(records(messages, 4096), records_info(prefix))
    assert [(record.nanoseconds, record.text) for record in found] == messages
    assert [line for record in found for line in record.lines()] == [
        "[    0.000000] Linux version 4.19",
        "[    1.234567] two",
        "[    1.234567] lines",
        "[   90.000000] end",
    ]


def test_records_that_have_wrapped() -> None:
    messages = [(n, f"message number {n}" + "." * (n % 23)) for n in range(200)]
    found = log_of(records(messages, 1024), records_info("printk_log"))
    got = [(record.nanoseconds, record.text) for record in found]
    assert 8 < len(got) < 40
    assert got == messages[-len(got) :]


def test_a_record_without_length_at_the_start_is_the_end() -> None:
    """Damaged: it would lead to itself, four million times in the largest buffer."""
    memory = SegmentedAddressSpace(
        {VARIABLES: struct.pack("<QQQQ", BUFFER, 64 << 20, 0, 32), BUFFER: bytes(4096)}
    )
    info = Vmcoreinfo.parse(records_info("printk_log").encode())
    assert list(kernel_log(memory, info, X86_64)) == []


# --- the lockless ring buffer (since 5.10) -----------------------------------------------------

RING_INFO = f"""SYMBOL(prb)={VARIABLES:x}
OFFSET(printk_ringbuffer.desc_ring)=0
OFFSET(printk_ringbuffer.text_data_ring)=40
OFFSET(prb_desc_ring.count_bits)=0
OFFSET(prb_desc_ring.descs)=8
OFFSET(prb_desc_ring.infos)=16
OFFSET(prb_desc_ring.head_id)=24
OFFSET(prb_desc_ring.tail_id)=32
SIZE(prb_desc)=24
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
OFFSET(prb_data_blk_lpos.begin)=0
OFFSET(prb_data_blk_lpos.next)=8
OFFSET(prb_data_ring.size_bits)=0
OFFSET(prb_data_ring.data)=8
OFFSET(atomic_long_t.counter)=0
SIZE(printk_info)=88
OFFSET(printk_info.seq)=0
OFFSET(printk_info.ts_nsec)=8
OFFSET(printk_info.text_len)=16
"""
RING = VARIABLES + 0x100
COMMITTED, FINALIZED, REUSABLE = 1, 2, 3


def ring_buffer(
    messages: Sequence[Message],
    count_bits: int = 4,
    size_bits: int = 10,
    states: Mapping[int, int] | None = None,
) -> dict[int, bytes]:
    """Store messages as kernel/printk/printk_ringbuffer.c does; old ones give way.

    The first id is 2**62 - 2**count_bits, as in the kernel; ids wrap round at 62 bits.
    """
    count, size, mask = 1 << count_bits, 1 << size_bits, (1 << 62) - 1
    descs, infos, data = bytearray(24 * count), bytearray(88 * count), bytearray(size)
    first = -count & mask
    position, kept = -size & (1 << 64) - 1, 0  # logical positions begin just below the wrap
    oldest: list[int] = []
    for number, (time, text) in enumerate(messages):
        identity, raw = (first + number) & mask, text.encode()
        slot = identity % count
        if raw:
            block = -(-(8 + len(raw)) // 8) * 8
            begin = position
            if position % size + block > size:  # it may not wrap: all of it at the start
                following = (position - position % size + size + block) & (1 << 64) - 1
                at = 0
            else:
                following = (position + block) & (1 << 64) - 1
                at = position % size
            data[at : at + 8] = struct.pack("<Q", identity)
            data[at + 8 : at + 8 + len(raw)] = raw
            position = following
        else:
            begin = following = 3  # both odd: no data
        state = (states or {}).get(number, FINALIZED)
        descs[24 * slot : 24 * slot + 24] = struct.pack(
            "<QQQ", state << 62 | identity, begin, following
        )
        infos[88 * slot : 88 * slot + 18] = struct.pack("<QQH", number, time, len(raw))
        oldest.append(position)
        kept = max(kept, number - count + 1)
        while (position - oldest[kept]) & (1 << 64) - 1 > size - 200:
            kept += 1
    head = (first + len(messages) - 1) & mask
    tail = (first + kept) & mask
    header = struct.pack("<IxxxxQQQQ", count_bits, DESCS, INFOS, head, tail)
    header += struct.pack("<IxxxxQ", size_bits, DATA)
    return {
        VARIABLES: struct.pack("<Q", RING),
        RING: header,
        DESCS: bytes(descs),
        INFOS: bytes(infos),
        DATA: bytes(data),
    }


def test_ring_buffer() -> None:
    messages = [(0, "Linux version 6.1"), (5_000_000, ""), (1_500_000_000, "Kernel panic")]
    found = log_of(ring_buffer(messages), RING_INFO)
    assert [(record.nanoseconds, record.text) for record in found] == messages


@given(st.lists(st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=60),
                min_size=1, max_size=80))  # fmt: skip
def test_a_ring_buffer_that_has_wrapped_has_the_newest_messages(texts: list[str]) -> None:
    messages = [(number, text) for number, text in enumerate(texts)]
    found = log_of(ring_buffer(messages), RING_INFO)
    got = [(record.nanoseconds, record.text) for record in found]
    assert got
    assert got == messages[-len(got) :]


def test_records_being_written_or_given_up_are_left_out() -> None:
    messages = [(n, f"message {n}") for n in range(6)]
    states = {1: 0, 3: COMMITTED, 4: REUSABLE}
    found = log_of(ring_buffer(messages, states=states), RING_INFO)
    assert [record.text for record in found] == ["message 0", "message 2", "message 3", "message 5"]


# --- what is damaged ---------------------------------------------------------------------------


def test_no_log_in_vmcoreinfo() -> None:
    with pytest.raises(InputError, match="does not say where the kernel log is"):
        log_of({}, "OSRELEASE=6.1\n")


@pytest.mark.parametrize("name", ["SIZE(prb_desc)", "OFFSET(prb_desc_ring.descs)"])
def test_a_line_missing_in_vmcoreinfo_is_named(name: str) -> None:
    info = "".join(line for line in RING_INFO.splitlines(True) if not line.startswith(name))
    with pytest.raises(InputError, match=name.replace("(", r"\(").replace(")", r"\)")):
        log_of(ring_buffer([(0, "x")]), info)


def test_a_log_that_is_not_in_the_dump() -> None:
    with pytest.raises(MemoryFault):
        log_of({}, RING_INFO)


def test_a_header_with_absurd_sizes_is_damaged() -> None:
    segments = ring_buffer([(0, "x")])
    header = bytearray(segments[RING])
    header[40:44] = b"\xff\xff\xff\xff"
    with pytest.raises(InputError, match="damaged"):
        log_of({**segments, RING: bytes(header)}, RING_INFO)


@pytest.mark.parametrize("size", ["SIZE(printk_info)", "SIZE(prb_desc)"])
def test_records_larger_than_any_kernels_are_not_read(size: str) -> None:
    with pytest.raises(InputError, match="larger than any kernel's"):
        log_of(
            ring_buffer([(0, "x")]),
            re.sub(rf"(?m)^{re.escape(size)}=.*", f"{size}=500000000", RING_INFO),
        )


LOGS = {
    "plain": (plain_text(b"some\nlines\n" * 30, 256), PLAIN),
    "records": (records([(n, "x" * n) for n in range(60)], 1024), records_info("log")),
    "ring": (ring_buffer([(n, "y" * n) for n in range(40)]), RING_INFO),
}


@settings(max_examples=150)
@example("records", 161, 0.125)  # went round a damaged buffer 1,000 times
@given(st.sampled_from(sorted(LOGS)), st.integers(0, 1 << 32), st.floats(0, 0.3))
def test_a_damaged_log_gives_records_or_one_of_two_errors(
    form: str, seed: int, share: float
) -> None:
    segments, info = LOGS[form]
    chance = random.Random(seed)
    spoilt = {
        address: bytes(chance.randrange(256) if chance.random() < share else byte for byte in data)
        for address, data in segments.items()
    }
    try:
        found = log_of(spoilt, info)
    except (InputError, MemoryFault):
        return
    assert len(found) < 5000


def test_a_log_of_nothing_but_damage_gives_signs_that_work_goes_on() -> None:
    segments = ring_buffer([(n, "x") for n in range(2040)], count_bits=11, size_bits=16)
    segments[DESCS] = bytes(len(segments[DESCS]))
    info = Vmcoreinfo.parse(RING_INFO.encode())
    assert list(kernel_log(SegmentedAddressSpace(segments), info, X86_64)) == [None] * 2
