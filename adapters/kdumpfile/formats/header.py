"""What the first bytes of a dump file tell before libkdumpfile opens it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import HeldPages, Pages
from kdump_gdbserver.adapters.kdumpfile.formats.extents import Extents
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.cpu_notes import prstatus_notes
from kdump_gdbserver.domain.kernel.notes import Note

# Those of all machines that Linux runs on with pages of 64 KiB at most.
PAGE_SIZES = tuple(1 << shift for shift in range(12, 17))

_PID_AT = 32  # of pr_pid in struct elf_prstatus of 64-bit machines (include/linux/elfcore.h)


class UnusableFileError(ValueError):
    """A file is no dump that can be opened; the message says why, without the path."""


@dataclass(slots=True)
class FileHeader:
    """The facts of a dump file's own header.

    `byte_order` is the file's own: QEMU writes that which a CPU was in, which need not be the
    kernel's. `machine` is uname's or ELF's name of the machine, None when the file does not tell.
    `codec` names the compression of the pages, `extents` the physical memory that an ELF dump
    holds, `held` the pages of a kdump-compressed one; `pages` reads their table. `block_size` is
    that of a kdump-compressed file's pages, which need not be the machine's. `frames` are the
    first page frame of this file, the one after the last, and how many the whole dump has;
    `identity` is the same in all parts of a dump. `moved` is by how many bytes all that follows an
    ELF dump's notes is later in the file than its headers say (or, negative, earlier), and
    `notes_unread` tells whether something stands behind the last whole note.
    """

    form: str
    byte_order: ByteOrder = "little"
    machine: str | None = None
    notes: Sequence[Note] = ()
    dump_level: int | None = None
    codec: str | None = None
    truncated: bool = False
    split: bool = False
    flattened: bool = False
    extents: Extents | None = None
    held: HeldPages | None = None
    pages: Callable[[], Pages] | None = None
    block_size: int = 0
    moved: int = 0
    notes_unread: bool = False
    frames: tuple[int, int, int] = (0, 0, 0)
    identity: bytes = b""

    @property
    def is_plain_elf(self) -> bool:
        """Whether the file itself is an ELF core, so that memory is read from it as it is."""
        return self.extents is not None and not self.flattened

    @property
    def from_qemu(self) -> bool:
        """Whether QEMU wrote the file: a note named QEMU per CPU, for some machines alone.

        For the others its kdump files name no machine, and the pids in its notes count from 1.
        """
        if any(note.name == b"QEMU" for note in self.notes):
            return True
        pids = [status[_PID_AT : _PID_AT + 4] for status in prstatus_notes(self.notes)]
        counted = [number.to_bytes(4, "little") for number in range(1, len(pids) + 1)]
        return self.form == "kdump" and self.machine is None and bool(pids) and pids == counted

    @property
    def from_xen(self) -> bool:
        """Whether the hypervisor Xen had a part in the dump (its notes: xen/elfnote.h)."""
        return any(note.name.upper().startswith(b"XEN") for note in self.notes)

    @property
    def vmcoreinfo(self) -> bytes | None:
        """The VMCOREINFO note's text."""
        for note in self.notes:
            if note.name == b"VMCOREINFO" and note.descriptor:
                return note.descriptor
        return None

    @property
    def prstatus_sizes(self) -> set[int]:
        """The sizes of the NT_PRSTATUS notes in bytes."""
        return {len(status) for status in prstatus_notes(self.notes)}
