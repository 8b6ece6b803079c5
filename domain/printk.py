"""The kernel's log, read from memory by VMCOREINFO alone.

Three generations: the lockless ring buffer (since 5.10, kernel/printk/printk_ringbuffer.h),
variable-length records in `log_buf` (3.5 to 5.9, struct printk_log, at first struct log), and
plain text in `log_buf` (before). Offsets and sizes come from VMCOREINFO, none is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# Bound on what a damaged dump can make us read, in bytes and in records.
MAX_BUFFER = 64 << 20
MAX_RECORD = 4096  # of a descriptor or of what is known of a message; the kernel's have 100
_MAX_COUNT_BITS = 24
# Records between two signs of progress: it may be that none of them can be read.
_RECORDS_AT_ONCE = 1000

# States of a descriptor whose text can be read (enum desc_state).
_COMMITTED, _FINALIZED = 1, 2
# The block position of a record that has no text (NO_LPOS; 1 stands for lost text).
_NO_BLOCK = 3


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One message: nanoseconds since boot (None in plain-text logs) and its text."""

    nanoseconds: int | None
    text: str

    def lines(self) -> Iterator[str]:
        """Yield the lines as dmesg(1) shows them."""
        for line in self.text.split("\n"):
            if self.nanoseconds is None:
                yield line
            else:
                seconds, rest = divmod(self.nanoseconds, 1_000_000_000)
                yield f"[{seconds:5d}.{rest // 1000:06d}] {line}"


def kernel_log(memory: AddressSpace, info: Vmcoreinfo, arch: Arch) -> Iterator[LogRecord | None]:
    """Yield the messages that are still in the buffer, oldest first.

    Yields None now and then, since a damaged log may have millions of unreadable records. Raises
    `InputError` when VMCOREINFO does not say where the log is, `MemoryFault` when its head cannot
    be read; a record that cannot be read is left out.
    """
    reader = _Reader(memory, info, arch)
    if info.symbol("prb") is not None:
        return _ring_buffer(reader)
    if info.symbol("log_next_idx") is not None:
        return _records(reader)
    if info.symbol("log_end") is not None:
        return _plain_text(reader)
    raise InputError("VMCOREINFO does not say where the kernel log is; give it with --vmcoreinfo")


class _Reader:
    """Reads values by VMCOREINFO's names."""

    def __init__(self, memory: AddressSpace, info: Vmcoreinfo, arch: Arch) -> None:
        self.memory = memory
        self.info = info
        self.arch = arch

    def symbol(self, name: str) -> int:
        return self._known(self.info.symbol(name), f"SYMBOL({name})")

    def size(self, *names: str) -> int:
        found = [self.info.size(name) for name in names]
        return self._known(next((s for s in found if s), None), f"SIZE({names[0]})")

    def offset(self, *names: str) -> int:
        found = [self.info.offset(name) for name in names]
        return self._known(next((o for o in found if o is not None), None), f"OFFSET({names[0]})")

    @staticmethod
    def _known(value: int | None, what: str) -> int:
        if value is None:
            raise InputError(f"VMCOREINFO has no {what}; give it with --vmcoreinfo")
        return value

    def uint(self, address: int, size: int) -> int:
        return self.memory.read_uint(address, size, self.arch.byte_order)

    def long(self, address: int) -> int:
        return self.uint(address, self.arch.pointer_size)

    def field(self, raw: bytes, offset: int, size: int) -> int:
        return int.from_bytes(raw[offset : offset + size], self.arch.byte_order)


def _ring_buffer(reader: _Reader) -> Iterator[LogRecord | None]:
    ring = reader.long(reader.symbol("prb"))
    descriptors = ring + reader.offset("printk_ringbuffer.desc_ring")
    texts = ring + reader.offset("printk_ringbuffer.text_data_ring")
    counter = reader.info.offset("atomic_long_t.counter") or 0
    word = reader.arch.pointer_size

    def at(base: int, member: str) -> int:
        return base + reader.offset(member)

    count_bits = reader.uint(at(descriptors, "prb_desc_ring.count_bits"), 4)
    size_bits = reader.uint(at(texts, "prb_data_ring.size_bits"), 4)
    if count_bits > _MAX_COUNT_BITS or size_bits >= MAX_BUFFER.bit_length():
        raise InputError("the kernel log's header is damaged")
    count, size = 1 << count_bits, 1 << size_bits
    descs = reader.long(at(descriptors, "prb_desc_ring.descs"))
    infos = reader.long(at(descriptors, "prb_desc_ring.infos"))
    data = reader.long(at(texts, "prb_data_ring.data"))
    head = reader.long(at(descriptors, "prb_desc_ring.head_id") + counter)
    tail = reader.long(at(descriptors, "prb_desc_ring.tail_id") + counter)
    desc_size, info_size = reader.size("prb_desc"), reader.size("printk_info")
    if max(desc_size, info_size) > MAX_RECORD:
        raise InputError("VMCOREINFO is damaged: the log's records are larger than any kernel's")
    state_at = reader.offset("prb_desc.state_var") + counter
    position_at = reader.offset("prb_desc.text_blk_lpos")
    begin_at = position_at + reader.offset("prb_data_blk_lpos.begin")
    next_at = position_at + reader.offset("prb_data_blk_lpos.next")
    time_at, length_at = reader.offset("printk_info.ts_nsec"), reader.offset("printk_info.text_len")
    id_mask = (1 << (8 * word - 2)) - 1
    for n in range(((head - tail) & id_mask) + 1 if (head - tail) & id_mask < count else 0):
        number = (tail + n) & id_mask
        if n % _RECORDS_AT_ONCE == _RECORDS_AT_ONCE - 1:
            yield None
        try:
            desc = reader.memory.read_exact(descs + number % count * desc_size, desc_size)
            state = reader.field(desc, state_at, word)
            if state & id_mask != number or state >> (8 * word - 2) not in (_COMMITTED, _FINALIZED):
                continue
            record = reader.memory.read_exact(infos + number % count * info_size, info_size)
            start, end = reader.field(desc, begin_at, word), reader.field(desc, next_at, word)
            if start & 1 and end & 1:  # without a block
                if end != _NO_BLOCK:
                    continue  # there was no room for its text
                text = b""
            else:
                start, end = start % size, (end - 1) % size + 1
                if start >= end:  # it did not fit at the ring's end and lies at its start
                    start = 0
                start += word  # after the block's id
                length = min(reader.field(record, length_at, 2), max(end - start, 0))
                text = reader.memory.read_exact(data + start, length)
        except MemoryFault:
            continue
        yield LogRecord(reader.field(record, time_at, 8), _decode(text))


def _records(reader: _Reader) -> Iterator[LogRecord]:
    """Yield records of struct printk_log (before 3.11 named struct log)."""
    buffer = reader.long(reader.symbol("log_buf"))
    size = reader.uint(reader.symbol("log_buf_len"), 4)
    at = reader.uint(reader.symbol("log_first_idx"), 4)
    end = reader.uint(reader.symbol("log_next_idx"), 4)
    header = reader.size("printk_log", "log")
    time_at = reader.offset("printk_log.ts_nsec", "log.ts_nsec")
    length_at = reader.offset("printk_log.len", "log.len")
    text_length_at = reader.offset("printk_log.text_len", "log.text_len")
    if size > MAX_BUFFER:
        raise InputError("the kernel log's header is damaged")
    wrapped = False
    while at != end:
        try:
            raw = reader.memory.read_exact(buffer + at, header)
            length = reader.field(raw, length_at, 2)
            if length == 0:
                if wrapped:
                    return  # damaged: the log goes round once at most
                at, wrapped = 0, True  # the rest did not fit; the next record is at the start
                continue
            text = reader.memory.read_exact(
                buffer + at + header, reader.field(raw, text_length_at, 2)
            )
        except MemoryFault:
            return
        yield LogRecord(reader.field(raw, time_at, 8), _decode(text))
        at += length
        if at >= size:
            if wrapped:
                return
            at, wrapped = 0, True


def _plain_text(reader: _Reader) -> Iterator[LogRecord]:
    buffer = reader.long(reader.symbol("log_buf"))
    size = reader.uint(reader.symbol("log_buf_len"), 4)
    end = reader.uint(reader.symbol("log_end"), 4)
    if not 0 < size <= MAX_BUFFER:
        raise InputError("the kernel log's header is damaged")
    text = reader.memory.read_exact(buffer, size)
    if end > size:  # it has wrapped round: the oldest byte is where the next one would go
        start = end % size
        text = text[start:] + text[:start]
    else:
        text = text[:end]
    for line in _decode(text.strip(b"\0")).splitlines():
        yield LogRecord(None, line)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace").rstrip("\n")
