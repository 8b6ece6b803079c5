"""CrashDump: a dump file that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.page_walk import FilePlace, PageWalk
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo


class AddressSpaceFactory(Protocol):
    """Makes address spaces over one dump.

    Each one made is for one thread of control; two of them can be read at the same time.
    """

    def kernel(self) -> AddressSpace:
        """Kernel virtual memory, through the kernel's own page tables."""

    def physical(self) -> AddressSpace:
        """The machine's physical memory."""

    def process(self, root_table: int) -> AddressSpace:
        """Virtual memory of one process, below the page table at `root_table`.

        That is a physical address, or from 2**63 on a kernel virtual one (mm->pgd); raises
        `MemoryFault` when the latter cannot be translated.
        """


class CrashDump(AddressSpaceFactory, Protocol):
    """An open dump: its facts, its CPUs' registers and its memory."""

    @property
    def facts(self) -> DumpFacts:
        """What is known of the dump."""

    @property
    def vmcoreinfo(self) -> Vmcoreinfo:
        """The VMCOREINFO, without a line when the dump has none."""

    def cpu_notes(self) -> Sequence[CpuNote]:
        """Return the CPUs' prstatus notes in the order of the dump."""

    def page_walk(self, address: int, root_table: int | None = None) -> PageWalk:
        """Walk to a virtual address through the kernel's page table.

        With `root_table` through the one of a process, given as in `process`. Raises
        `MemoryFault` when no page table is known or its top cannot be found.
        """

    def file_place(self, physical: int) -> FilePlace | None:
        """Return where the page of a physical address is in the files, None: nowhere."""

    def stored_memory(self) -> int:
        """Return how many bytes of physical memory the dump holds."""

    def close(self) -> None:
        """Let the file and all memory go; reading afterwards is an error."""


class CrashDumpOpener(Protocol):
    """Opens dump files."""

    def describe(self) -> str:
        """Return a line that says by what dumps are opened; raises `InputError` if by nothing."""

    def open(
        self,
        paths: Sequence[str],
        *,
        arch: str | None = None,
        vmcoreinfo: bytes | None = None,
    ) -> CrashDump:
        """Open a dump, or the parts of a split one.

        `arch` (a name of `domain.arch.ARCHITECTURES`) is for dumps that do not name
        theirs, `vmcoreinfo` replaces or adds the VMCOREINFO text. Raises `DumpOpenError`
        or `LibraryNotFoundError`.
        """
