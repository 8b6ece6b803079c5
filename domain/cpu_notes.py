"""The CPUs' registers as the notes of a dump give them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.dump_facts import CpuNote

NT_PRSTATUS = 1
NT_FPREGSET = 2


class Note(NamedTuple):
    """One ELF note (System V ABI, "Note Section")."""

    name: bytes
    type: int
    descriptor: bytes

    @property
    def is_prstatus(self) -> bool:
        """Whether it has the registers of a CPU."""
        return self.name == b"CORE" and self.type == NT_PRSTATUS


def parse_notes(area: bytes, byte_order: str = "little") -> Iterator[Note]:
    """Yield the notes of an area, up to the first that is not whole."""
    header = struct.Struct("<III" if byte_order == "little" else ">III")
    at = 0
    while at + header.size <= len(area):
        name_size, size, kind = header.unpack_from(area, at)
        name_at = at + header.size
        start = name_at + (name_size + 3 & ~3)
        at = start + (size + 3 & ~3)
        if start + size > len(area):
            return
        name = area[name_at : name_at + name_size].rstrip(b"\0")
        if name or size:
            yield Note(name, kind, area[start : start + size])


def cpu_notes(notes: Sequence[Note], arch: Arch) -> list[CpuNote] | None:
    """Return the CPUs' registers in the order of the notes, None when that cannot be told.

    So it is of an architecture whose notes are not known, and of notes of another size.
    """
    layout = arch.prstatus
    status = [note.descriptor for note in notes if note.is_prstatus]
    if layout is None or any(len(descriptor) != layout.size for descriptor in status):
        return None
    beside = [note.descriptor for note in notes if note.name == b"QEMU"]
    control = arch.qemu_note
    if control is None or len(beside) != len(status):
        beside = [b""] * len(status)
    floats = [n.descriptor for n in notes if n.name == b"CORE" and n.type == NT_FPREGSET]
    fp_note = arch.fp_note
    if fp_note is None or [len(each) for each in floats] != [fp_note.size] * len(status):
        floats = [b""] * len(status)
    pid_at = layout.pid_at
    return [
        CpuNote(
            index,
            None
            if pid_at is None
            else int.from_bytes(descriptor[pid_at : pid_at + 4], arch.byte_order),
            arch.note_registers(layout, descriptor)
            | (arch.note_registers(fp_note, fp) if fp_note is not None and fp else {}),
            arch.note_registers(control, other)
            if control is not None and len(other) >= control.size
            else {},
        )
        for index, (descriptor, other, fp) in enumerate(zip(status, beside, floats, strict=True))
    ]
