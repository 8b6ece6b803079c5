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
    names mapped to gdb's, unsigned.
    """

    index: int
    pid: int | None
    registers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """The dump as a file and the machine it came from.

    `format` is libkdumpfile's name for the file format; `page_size` is in bytes;
    `cpu_count` counts the CPUs whose registers are there. `hypervisor` is true when the
    dump was taken from outside (QEMU), so that its prstatus pids are no pids.
    `dump_level` is makedumpfile's `-d` level where the file tells it, `truncated` whether
    the file ends before its last page, `parts_missing` whether a part of a split dump was
    not given. `library` names the library that reads the pages. `extra` has facts that not
    every dump has: `codec` (how pages are compressed), `flattened`, and `translation` (why
    kernel addresses cannot be translated).
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
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing_pages(self) -> str | None:
        """Return why pages may be missing, in words, or None when all should be there."""
        if self.truncated:
            return "the file is truncated"
        if self.parts_missing:
            return "not all parts of the split dump were given"
        if self.dump_level:
            return "filtered out by makedumpfile: " + ", ".join(dump_level_classes(self.dump_level))
        return None


_LEVEL_CLASSES = (
    (1, "zero pages"),
    (2, "cache pages"),
    (4, "private cache pages"),
    (8, "user pages"),
    (16, "free pages"),
)


def dump_level_classes(level: int) -> list[str]:
    """Name the page classes that makedumpfile's `-d LEVEL` leaves out (makedumpfile(8))."""
    return [name for bit, name in _LEVEL_CLASSES if level & bit]
