"""ElfCoreDump: a `ports.crash_dump.CrashDump` over a plain ELF core, without libkdumpfile.

It has what the port asks for and no more: facts, VMCOREINFO, notes, physical memory. Pages are
found by the walker of page tables alone.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder, read_to_hole
from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch, arch_named
from kdump_gdbserver.domain.cpu_notes import cpu_notes
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.errors import DumpOpenError, FaultReason, MemoryFault
from kdump_gdbserver.domain.kernel.notes import Note, parse_notes
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import FilePlaces, Translation

PT_LOAD, PT_NOTE = 1, 4
_ORDERS: dict[int, tuple[str, ByteOrder]] = {1: ("<", "little"), 2: (">", "big")}


class Load(NamedTuple):
    """Physical memory from `start` to before `end`, at `offset` in the file."""

    start: int
    end: int
    offset: int


class ElfCoreDump:
    """An open ELF core."""

    places: FilePlaces | None = None
    translation: Translation | None = None

    def __init__(
        self, path: str, *, arch: str | None = None, vmcoreinfo: bytes | None = None
    ) -> None:
        self._file: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        order, byte_order, machine, headers = _headers(path, self._file)
        notes: list[Note] = []
        self._loads: list[Load] = []
        for kind, _, offset, _, physical, size, _, _ in struct.iter_unpack(
            order + "IIQQQQQQ", headers
        ):
            if kind == PT_NOTE:
                notes += parse_notes(os.pread(self._file, size, offset), byte_order)
            elif kind == PT_LOAD:
                self._loads.append(Load(physical, physical + size, offset))
        self._loads.sort()
        told = [note.descriptor for note in notes if note.name == b"VMCOREINFO"]
        text = vmcoreinfo or (told[0] if told else b"")
        self.vmcoreinfo = Vmcoreinfo.parse(text) if text else Vmcoreinfo({})
        found = _arch(path, machine, arch)
        self._notes = cpu_notes(notes, found)
        if self._notes is None:
            raise DumpOpenError(f"{path}: its notes are not those of {found.name}")
        self.facts = DumpFacts(
            paths=(path,),
            format="elf",
            arch=found,
            page_size=self.vmcoreinfo.page_size or 4096,
            cpu_count=len(self._notes),
            hypervisor=any(note.name == b"QEMU" for note in notes),
            release=self.vmcoreinfo.release,
        )

    def cpu_notes(self) -> Sequence[CpuNote]:
        return self._notes or ()

    def physical(self) -> AddressSpace:
        self.descriptor()
        return _Physical(self, self._loads)

    def descriptor(self) -> int:
        if self._file is None:
            raise ValueError("the dump is closed")
        return self._file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class ElfCoreOpener:
    """Implements `ports.crash_dump.CrashDumpOpener`."""

    def describe(self) -> str:
        """See `CrashDumpOpener.describe`."""
        return "plain ELF cores, without libkdumpfile"

    def open(
        self,
        paths: Sequence[str],
        *,
        arch: str | None = None,
        vmcoreinfo: bytes | None = None,
    ) -> ElfCoreDump:
        [path] = paths
        return ElfCoreDump(path, arch=arch, vmcoreinfo=vmcoreinfo)


class _Physical(AddressSpace):
    def __init__(self, dump: ElfCoreDump, loads: Sequence[Load]) -> None:
        self._dump = dump
        self._loads = loads

    def read(self, address: int, length: int) -> bytes:
        return read_to_hole(self._piece, address, length) if length > 0 else b""

    def _piece(self, address: int, length: int) -> bytes:
        file = self._dump.descriptor()
        for load in self._holding(address):
            size = min(length, load.end - address)
            data = os.pread(file, size, load.offset + address - load.start)
            if not data:
                raise MemoryFault(address, FaultReason.TRUNCATED)
            return data
        raise MemoryFault(address, FaultReason.EXCLUDED)

    def _holding(self, address: int) -> Iterator[Load]:
        return (load for load in self._loads if load.start <= address < load.end)


def _headers(path: str, file: int) -> tuple[str, ByteOrder, int, bytes]:
    """Return struct's prefix, the byte order, the machine and the program headers."""
    raw = os.pread(file, 64, 0)
    if len(raw) < 64 or raw[:5] != b"\x7fELF\x02" or raw[5] not in _ORDERS:
        raise DumpOpenError(f"{path}: is no 64-bit ELF core")
    order, byte_order = _ORDERS[raw[5]]
    kind, machine, _, _, table, _, _, _, size, count = struct.unpack_from(
        order + "HHIQQQIHHH", raw, 16
    )
    headers = os.pread(file, size * count, table)
    if kind != 4 or size != 56 or len(headers) < size * count:
        raise DumpOpenError(f"{path}: is no whole ELF core")
    return order, byte_order, machine, headers


def _arch(path: str, machine: int, named: str | None) -> Arch:
    for arch in ARCHITECTURES.values():
        if machine == arch.elf_machine or (machine == 0 and arch is arch_named(named or "")):
            return arch
    raise DumpOpenError(f"{path}: is of an architecture that is not supported")
