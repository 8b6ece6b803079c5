"""Makes processes for tests: mappings, an ELF file, files of a host, a dump with page tables."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import DumpIdentity, ProcessImage, ProcessThread, Vma
from tests.support.note_writer import note

PAGE = 4096
BUILD_ID = bytes(range(20))


class Pages(AddressSpace):
    """Pages by address, whole ones; any other is a fault, for `reasons` or unmapped."""

    def __init__(
        self, pages: Mapping[int, bytes], reasons: Mapping[int, FaultReason] | None = None
    ) -> None:
        self.pages = dict(pages)
        self.reasons = dict(reasons or {})

    def read(self, address: int, length: int) -> bytes:
        if length <= 0:
            return b""
        page = address - address % PAGE
        if page not in self.pages:
            raise MemoryFault(address, self.reasons.get(page, FaultReason.UNMAPPED))
        return self.pages[page][address - page :][:length]


def pages_of(address: int, data: bytes) -> dict[int, bytes]:
    """Cut data into pages that lie at `address` on."""
    return {
        address + at: data[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, len(data), PAGE)
    }


def elf(
    *,
    bits: int = 64,
    kind: int = 3,
    base: int = 0,
    build_id: bytes | None = BUILD_ID,
    dynamic: Sequence[tuple[int, int]] = (),
    pages: int = 6,
) -> bytes:
    """Write an ELF file of `pages`: headers, code from page 1, data from page 4 on."""
    notes = b"" if build_id is None else note(b"GNU", 3, build_id)
    table = b"".join(struct.pack("<QQ" if bits == 64 else "<II", *entry) for entry in dynamic)
    segments = [  # type, flags, first byte, size
        (1, 4, 0, PAGE),
        (1, 5, PAGE, 3 * PAGE),
        (1, 6, 4 * PAGE, (pages - 4) * PAGE),
        (4, 4, 0x800, len(notes)),
        (2, 6, 0x900, len(table)),
    ]
    header_size, entry_size = (64, 56) if bits == 64 else (52, 32)
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH" if bits == 64 else "<HHIIIIIHHHHHH",
        kind, 62, 1, base + PAGE, header_size, 0, 0, header_size, entry_size, len(segments),
        0, 0, 0,
    )  # fmt: skip
    for what, flags, start, size in segments:
        if bits == 64:
            header += struct.pack(
                "<IIQQQQQQ", what, flags, start, base + start, 0, size, size, PAGE
            )
        else:
            header += struct.pack(
                "<IIIIIIII", what, start, base + start, 0, size, size, flags, PAGE
            )
    image = bytearray(header.ljust(PAGE, b"\0"))
    image[0x800 : 0x800 + len(notes)] = notes
    image[0x900 : 0x900 + len(table)] = table
    return bytes(image) + b"".join(bytes([0x10 + page]) * PAGE for page in range(1, pages))


class HostFileStub:
    """A file in memory; implements `ports.HostFile`."""

    def __init__(self, content: bytes, inode: int, modified: int) -> None:
        self.content, self.size = content, len(content)
        self.inode, self.modified = inode, modified
        self.open = True

    def read(self, offset: int, count: int) -> bytes:
        assert self.open
        return self.content[offset : offset + count]

    def close(self) -> None:
        self.open = False


class HostFilesStub:
    """Files by path: content, inode, time; implements `ports.HostFiles`."""

    def __init__(self, files: Mapping[str, tuple[bytes, int, int]]) -> None:
        self.files = files

    def open(self, path: str) -> HostFileStub | None:
        return HostFileStub(*self.files[path]) if path in self.files else None


def file_vmas(path: str, start: int, inode: int = 7, **more: int) -> list[Vma]:
    """Return the mappings of `elf()`: headers, code, relro and data."""
    parts = (("r--p", 0, 1), ("r-xp", 1, 3), ("r--p", 4, 1), ("rw-p", 5, 1))
    return [
        Vma(
            start + first * PAGE,
            start + (first + count) * PAGE,
            perms,
            first * PAGE,
            "08:01",
            inode,
            path,
            **more,
        )
        for perms, first, count in parts
    ]


class ThreadFields(TypedDict, total=False):
    """What a thread of a sidecar may have; see `ProcessThread`."""

    cpu: int
    user_mode: bool
    fpregs: Mapping[str, int]
    siginfo: Mapping[str, int | str] | None


def thread(tid: int, registers: Mapping[str, int], **more: Unpack[ThreadFields]) -> ProcessThread:
    return ProcessThread(100, tid, f"t{tid}", registers, **more)


class ImageFields(TypedDict, total=False):
    """What a process of a sidecar may have; see `ProcessImage`."""

    auxv: bytes
    exe: str | None
    cmdline: tuple[str, ...]
    mode: int
    cwd: str | None


def image_of(
    *threads: ProcessThread,
    vmas: Sequence[Vma] = (),
    arch: str | None = "x86_64",
    loadaddr: int = 0,
    **more: Unpack[ImageFields],
) -> ProcessImage:
    """Return process 100 with its page table at 0x5000."""
    identity = DumpIdentity(arch, source="p.json")
    return ProcessImage(identity, 100, "prog", 0x5000, loadaddr, threads, vmas=tuple(vmas), **more)
