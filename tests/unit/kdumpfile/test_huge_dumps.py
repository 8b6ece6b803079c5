"""Dumps of huge machines, as sparse files: open in seconds, in little memory."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.kdumpfile.formats.page_bitmap import PageBitmap
from tests.unit.kdumpfile.kdumpfile_support import Machine
from tests.unit.kdumpfile.vmcore_builder import PAGE, Kdump, kdump

MACHINE = Machine()
TIB = 1 << 40
# What opening and a first read may take. Measured: 0.2 s and 80 MiB for the ELF file with
# 60,000 segments; 1.9 s and 520 MiB for the kdump file of 15 TiB, 480 MiB of which are
# libkdumpfile's own copy of the bitmap, given back after it.
SECONDS = 60

LOOK = """
import re, sys, time
from pathlib import Path
from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
began = time.monotonic()
dump = KdumpfileOpener().open([sys.argv[1]])
text = DumpMemory(dump).kernel().read(int(sys.argv[2], 16), 16).hex()
far = dump.physical().read(int(sys.argv[3], 16), 16).hex() if int(sys.argv[3], 16) else "-"
# Not getrusage(2)'s ru_maxrss, which begins with what the parent had when it started us.
peak = re.search(r"^VmHWM:\\s*(\\d+) kB$", Path("/proc/self/status").read_text(), re.M)[1]
print(text, far, dump.places.stored_memory(), time.monotonic() - began, peak)
"""


def sparse_elf(path: Path, segments: int) -> None:
    """A vmcore of 1 TiB in so many PT_LOADs, a page apart; the first holds the machine."""
    size = TIB // segments & ~(PAGE - 1)
    notes = MACHINE.notes
    offset = 64 + 56 * (segments + 1)
    data = -(-(offset + len(notes)) // PAGE) * PAGE
    headers = [struct.pack("<IIQQQQQQ", 4, 0, offset, 0, 0, len(notes), len(notes), 0)]
    for number in range(segments):
        at = data + number * size
        headers.append(struct.pack("<IIQQQQQQ", 1, 7, at, 0, number * (size + PAGE), size, size, 0))
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 4, 62, 1, 0, 64, 0, 0, 64, 56, segments + 1, 0, 0, 0
    )
    with path.open("wb") as file:
        file.write(header + b"".join(headers) + notes)
        file.seek(data)
        file.write(MACHINE.memory)
        file.truncate(data + segments * size)


def sparse_kdump(path: Path, memory: int) -> None:
    """A kdump file of a machine with so much memory, the first 2 MiB of which were dumped."""
    pages, frames = MACHINE.pages(), memory // PAGE
    small = kdump(pages, len(pages), Kdump(notes=MACHINE.notes, status=0))
    sub_blocks = int.from_bytes(small[428 + 4 : 428 + 8], "little")
    blocks = -(-frames // (8 * PAGE))
    head = bytearray(small[: (1 + sub_blocks) * PAGE])
    struct.pack_into("<II", head, 424 + 12, 2 * blocks, min(frames, 0xFFFFFFFF))
    struct.pack_into("<Q", head, PAGE + 96, frames)
    bitmap = b"\xff" * (len(pages) // 8)
    bitmaps_at, table_at = len(head), len(head) + 2 * blocks * PAGE
    data_at = table_at + 24 * len(pages)
    with path.open("wb") as file:
        file.write(head)
        for at in (bitmaps_at, bitmaps_at + blocks * PAGE):
            file.seek(at)
            file.write(bitmap)
        file.seek(table_at)
        for frame in range(len(pages)):
            file.write(struct.pack("<QIIQ", data_at + frame * PAGE, PAGE, 0, 0))
        file.write(b"".join(pages[frame] for frame in range(len(pages))))


def look(path: Path, far: int) -> tuple[str, str, int, float, int]:
    """Open a dump in a process of its own and read the kernel's text, and memory at `far`."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(path), f"{MACHINE.TEXT:x}", f"{far:x}"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.stderr == ""
    text, there, stored, seconds, peak = done.stdout.split()
    return text, there, int(stored), float(seconds), int(peak)


TEXT = bytes(MACHINE.memory[MACHINE.TEXT_AT : MACHINE.TEXT_AT + 16]).hex()


@pytest.mark.parametrize("segments", [1, 4000, 60000])
def test_a_sparse_elf_dump_of_1_tib_with_many_segments(tmp_path: Path, segments: int) -> None:
    path = tmp_path / "vmcore"
    sparse_elf(path, segments)
    text, far, stored, seconds, peak = look(path, TIB // 2 - TIB // 2 % PAGE + PAGE * 3)
    assert text == TEXT
    assert far == bytes(16).hex()
    assert TIB - segments * PAGE <= stored <= TIB
    assert seconds < SECONDS
    assert peak < 256 << 10


@pytest.mark.parametrize(("tebibytes", "most_mib"), [(1, 192), (15, 800)])
def test_a_sparse_kdump_with_a_bitmap_of_up_to_a_gigabyte(
    tmp_path: Path, tebibytes: int, most_mib: int
) -> None:
    path = tmp_path / "vmcore"
    sparse_kdump(path, tebibytes * TIB)
    text, _, stored, seconds, peak = look(path, 0)
    assert text == TEXT
    assert stored == len(MACHINE.memory)
    assert seconds < SECONDS
    assert peak < most_mib << 10


@given(st.integers(0, 1 << 32), st.integers(1, 40000), st.data())
def test_bits_and_ranks_are_those_of_the_whole_bitmap(
    seed: int, size: int, data: st.DataObject
) -> None:
    dice = random.Random(seed)
    raw = b"".join(
        bytes(1000) if dice.random() < 0.5 else dice.randbytes(1000)
        for _ in range(-(-size // 1000))
    )[:size]
    whole = int.from_bytes(raw, "little")
    bitmap = PageBitmap(lambda at, length: raw[at - 7 :][:length], 7, size)
    assert len(bitmap) == 8 * size
    for frame in data.draw(st.lists(st.integers(0, 8 * size - 1), max_size=20)):
        assert bitmap.is_set(frame) == bool(whole >> frame & 1)
        assert bitmap.rank(frame) == (whole & ((1 << frame) - 1)).bit_count()
    assert bitmap.rank(8 * size) == bitmap.rank(1 << 60) == whole.bit_count()


def test_a_bitmap_that_is_cut_says_how_much_there_is_and_later_loss_is_left_to_the_read() -> None:
    raw = [bytes(10000)]
    bitmap = PageBitmap(lambda at, length: raw[0][at:][:length], 0, 20000)
    assert len(bitmap) == 80000
    assert not bitmap.is_set(9000)
    raw[0] = b""
    assert not bitmap.is_set(9001)  # read before
    assert bitmap.is_set(79999)
