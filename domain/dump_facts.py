"""What is known of a dump before any of its memory is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kdump_gdbserver.domain.arch.model import Arch


@dataclass(frozen=True, slots=True)
class CpuNote:
    """One NT_PRSTATUS note, in the order in which the dump holds them.

    `index` counts notes, which is not always the CPU number. `pid` is what the note
    says and means nothing in a dump written by QEMU. `registers` has the dump's own
    names mapped to gdb's, unsigned; `control` are the control registers of QEMU's note.
    """

    index: int
    pid: int | None
    registers: Mapping[str, int]
    control: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a page's bytes are: file, offset and length (bytes), and how they are stored.

    `codec` names what the page was compressed with, None for one that is stored as it is.
    `inside` is which byte of the page was asked for. `rearranged` says that the offset is not
    the file's own, but that in the dump which a flattened file makes when it is put together.
    """

    path: str
    offset: int
    length: int
    codec: str | None = None
    inside: int = 0
    rearranged: bool = False


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """The dump as a file and the machine it came from.

    `format` names the file format; `page_size` is in bytes;
    `cpu_count` counts the CPUs whose registers are there. `hypervisor` is true when the
    dump was taken from outside (QEMU), so that its prstatus pids are no pids. In a dump of a
    `xen` domain page tables hold the machine's addresses and not those of its memory.
    `dump_level` is makedumpfile's `-d` level where the file tells it, `truncated` whether
    the file ends before its last page, `parts_missing` whether a part of a split dump was
    not given. `library` names the library that reads the pages. `codec` is what they are
    compressed with, `flattened` whether the file is in makedumpfile's flattened format.
    `vmcoreinfo_at` is the physical address at which the kernel's VMCOREINFO was found where
    the file does not carry it. `memory_moved` is by how many bytes an ELF file's memory is later
    (or, negative, earlier) than its headers say, `notes_unread` whether some of the notes' bytes
    are no whole note.
    """

    paths: tuple[str, ...]
    format: str
    arch: Arch
    page_size: int
    cpu_count: int
    hypervisor: bool = False
    release: str | None = None
    version: str | None = None
    nodename: str | None = None
    machine: str | None = None
    dump_level: int | None = None
    truncated: bool = False
    parts_missing: bool = False
    library: str = ""
    codec: str | None = None
    flattened: bool = False
    xen: bool = False
    vmcoreinfo_at: int | None = None
    memory_moved: int = 0
    notes_unread: bool = False

    @property
    def missing_pages(self) -> str | None:
        """Return why pages may be missing, in words, or None when all should be there."""
        if self.truncated:
            return "the file is truncated"
        if self.parts_missing:
            return "not all parts of the split dump were given"
        classes = dump_level_classes(self.dump_level or 0)
        return f"filtered out by makedumpfile: {', '.join(classes)}" if classes else None


_LEVEL_CLASSES = (
    (2, "cache pages"),
    (4, "private cache pages"),
    (8, "user pages"),
    (16, "free pages"),
)


def dump_level_classes(level: int) -> list[str]:
    """Name the page classes that makedumpfile's `-d LEVEL` leaves out (makedumpfile(8)).

    Pages of zeros, level 1, are not among them: only kdump-compressed files tell their level,
    and these keep one page of zeros for all (makedumpfile.c, write_kdump_pages_cyclic).
    """
    return [name for bit, name in _LEVEL_CLASSES if level & bit]
