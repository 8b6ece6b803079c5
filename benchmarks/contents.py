"""What is served: random bytes, real kernel memory, zeros; to each server in its own way."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import BUILD, BenchError
from benchmarks.synthetic import MIB, random_bytes, write_dump
from tests.real.harness.cache import cache_root

SIZE = 64 * MIB
# Real memory is taken in pieces from all over the machine.
_PIECES = 16


@dataclass(frozen=True)
class Span:
    """Bytes from `start` on."""

    start: int
    length: int


@dataclass(frozen=True)
class Content:
    """The same bytes in a dump at `ours`, and in the file `bytes_file`.

    The stub and gdbserver have the file at `theirs`.
    """

    name: str
    dump: Path
    ours: tuple[Span, ...]
    bytes_file: Path
    at: int

    @property
    def part(self) -> str:
        """The argument for the stub and for gdbserver's process."""
        return f"{self.at:#x}={self.bytes_file}"

    @property
    def theirs(self) -> tuple[Span, ...]:
        """Where the stub and gdbserver have the bytes."""
        spans: list[Span] = []
        at = self.at
        for span in self.ours:
            spans.append(Span(at, span.length))
            at += span.length
        return tuple(spans)

    @property
    def size(self) -> int:
        """All bytes."""
        return sum(span.length for span in self.ours)


def _loads(dump: Path) -> Iterator[tuple[int, int, int]]:
    """Yield physical address, size and file offset of the PT_LOAD segments (ELF gABI)."""
    with dump.open("rb") as file:
        header = file.read(64)
        (table,) = struct.unpack_from("<Q", header, 32)
        (count,) = struct.unpack_from("<H", header, 56)
        file.seek(table)
        for _ in range(count):
            kind, _, offset, _, physical, size, _, _ = struct.unpack("<IIQQQQQQ", file.read(56))
            if kind == 1:
                yield physical, size, offset


def real_folder(scenario: str = "panic", form: str = "elf") -> Path | None:
    """Return the newest crash that the tests on real kernels have left in their cache."""
    found = [
        path.parent
        for path in (cache_root() / "dumps").glob(f"*-{scenario}-*/facts.json")
        if (path.parent / "dumps" / form).exists() and path.parent.suffix != ".part"
    ]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def real_vmlinux(folder: Path) -> Path:
    """Return the vmlinux of the kernel that crashed, which the same tests have fetched."""
    release = json.loads((folder / "facts.json").read_text())["release"]
    found = next((cache_root() / "kernels").rglob(f"vmlinux-{release}"), None)
    if found is None:
        raise BenchError(f"no vmlinux of {release}: run 'make real' first")
    return found


def real_spans(folder: Path, size: int) -> list[tuple[Span, int]]:
    """Choose memory from all over a real machine: kernel addresses, offsets in the ELF dump."""
    start, length, offset = max(_loads(folder / "dumps" / "elf"), key=lambda load: load[1])
    symbols = json.loads((folder / "facts.json").read_text())["symbols"]
    direct_map = _word(folder, symbols["page_offset_base"])
    piece = size // _PIECES
    # The firmware's tables are at the end of memory, and not in the kernel's direct map.
    step = (length - MIB - piece) // (_PIECES - 1) // 4096 * 4096
    return [
        (Span(direct_map + start + at, piece), offset + at) for at in range(0, _PIECES * step, step)
    ]


def _real(folder: Path, size: int) -> Content:
    dump, path = folder / "dumps" / "elf", BUILD / "real.bin"
    spans = real_spans(folder, size)
    with dump.open("rb") as source, path.open("wb") as target:
        for span, offset in spans:
            source.seek(offset)
            target.write(source.read(span.length))
    ours = tuple(span for span, _ in spans)
    return Content("real kernel memory", dump, ours, path, 0x3000_0000_0000)


def _word(folder: Path, address: int) -> int:
    """Read a word of kernel memory in the way the server does."""
    from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
    from kdump_gdbserver.application.memory import DumpMemory

    dump = KdumpfileOpener().open([str(folder / "dumps" / "elf")])
    try:
        return DumpMemory(dump).kernel().read_uint(address, 8, "little")
    finally:
        dump.close()


def describe(content: Content) -> str:
    """Return how much of the bytes can be run-length encoded."""
    data = content.bytes_file.read_bytes()
    zero = sum(not any(data[at : at + 4096]) for at in range(0, len(data), 4096))
    return f"{100 * zero * 4096 // len(data)} % of the pages are zero"


def contents(size: int = SIZE) -> list[Content]:
    """Make what is measured; real memory is left out where there is no real dump."""
    BUILD.mkdir(parents=True, exist_ok=True)
    dump = BUILD / "synthetic.vmcore"
    at_random, at_zero = write_dump(dump, size)
    (BUILD / "random.bin").write_bytes(random_bytes(size))
    (BUILD / "zero.bin").write_bytes(bytes(size))
    made = [
        Content("random", dump, (Span(at_random, size),), BUILD / "random.bin", 0x1000_0000_0000),
        Content("zero", dump, (Span(at_zero, size),), BUILD / "zero.bin", 0x2000_0000_0000),
    ]
    folder = real_folder()
    if folder is not None:
        try:
            made.insert(1, _real(folder, size))
        except (BenchError, OSError, KeyError) as error:
            print(f"no real kernel memory: {error}")
    return made
