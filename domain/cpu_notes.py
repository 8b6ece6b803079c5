"""The CPUs' registers as the notes of a dump give them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.dump_facts import CpuNote
from kdump_gdbserver.domain.kernel.notes import Note

NT_PRSTATUS = 1
NT_FPREGSET = 2


def prstatus_notes(notes: Iterable[Note]) -> list[bytes]:
    """Return struct elf_prstatus of each CPU, from among the notes of a dump."""
    return [note.descriptor for note in notes if note.name == b"CORE" and note.type == NT_PRSTATUS]


def cpu_notes(
    notes: Sequence[Note], arch: Arch, byte_order: ByteOrder | None = None
) -> list[CpuNote] | None:
    """Return the CPUs' registers in the order of the notes, None when they cannot be told.

    They cannot when the architecture's notes are unknown, or these have another size.
    `byte_order` is that of the notes where it is not the architecture's.
    """
    layout, order = arch.prstatus, byte_order or arch.byte_order
    status = prstatus_notes(notes)
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
            None if pid_at is None else int.from_bytes(descriptor[pid_at : pid_at + 4], order),
            arch.note_registers(layout, descriptor, order)
            | (arch.note_registers(fp_note, fp, order) if fp_note is not None and fp else {}),
            arch.note_registers(control, other, order)
            if control is not None and len(other) >= control.size
            else {},
        )
        for index, (descriptor, other, fp) in enumerate(zip(status, beside, floats, strict=True))
    ]
