"""CrashDump: a dump file that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts, FilePlace
from kdump_gdbserver.domain.page_tables import Translator
from kdump_gdbserver.domain.page_walk import PageWalk
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo


class FilePlaces(Protocol):
    """Tells where in its files a dump keeps memory."""

    def find(self, physical: int) -> FilePlace | None:
        """Return where the page of a physical address is in the files, None: nowhere."""

    def stored_memory(self) -> int:
        """Return how many bytes of physical memory the dump holds."""


class Translation(Protocol):
    """Address translation that the dump's reader provides.

    It is used where the kernel's page tables cannot be found, or are not in the dump. Roots are
    physical addresses of top page tables.
    """

    @property
    def trouble(self) -> str | None:
        """Why kernel addresses cannot be translated, None when they can."""

    @property
    def user_end(self) -> int:
        """The first address above those of processes."""

    def kernel(self) -> Translator:
        """Return a translator of kernel addresses."""

    def process(self, root: int) -> Translator:
        """Return a translator of one process's addresses."""

    def walk(self, address: int, root: int | None = None) -> PageWalk:
        """Walk to an address through the kernel's page table, or the one at `root`.

        Raises `MemoryFault` when no page table is known.
        """


class CrashDump(Protocol):
    """An open dump: its facts, its CPUs' registers and the machine's physical memory.

    The optional parts are None where the dump has none.
    """

    @property
    def facts(self) -> DumpFacts:
        """What is known of the dump."""

    @property
    def vmcoreinfo(self) -> Vmcoreinfo:
        """The VMCOREINFO, without a line when the dump has none."""

    @property
    def places(self) -> FilePlaces | None:
        """Where in the files memory is."""

    @property
    def translation(self) -> Translation | None:
        """Address translation other than by the page tables in physical memory."""

    def cpu_notes(self) -> Sequence[CpuNote]:
        """Return the CPUs' prstatus notes in the order of the dump."""

    def physical(self) -> AddressSpace:
        """Return an address space of the machine's physical memory.

        Each is for one thread; two of them can be read at the same time.
        """

    def close(self) -> None:
        """Close the file and free all memory; reading afterwards is an error."""


class CrashDumpOpener(Protocol):
    """Opens dump files."""

    def describe(self) -> str:
        """Return a line that names what opens dumps; raises `InputError` if nothing can."""

    def open(
        self,
        paths: Sequence[str],
        *,
        arch: str | None = None,
        vmcoreinfo: bytes | None = None,
    ) -> CrashDump:
        """Open a dump, or the parts of a split one.

        `arch` (a name of `domain.arch.ARCHITECTURES`) is for dumps that do not name
        theirs, `vmcoreinfo` replaces or adds the VMCOREINFO text. Raises `InputError`.
        """
