"""DumpMemory: the virtual memory of a dump, made of its physical memory and its page tables."""

from __future__ import annotations

import functools

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.paging import KernelTables
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_tables import PageTables, TableCache, Translator
from kdump_gdbserver.domain.page_walk import PageWalk, RootTable
from kdump_gdbserver.domain.virtual_memory import VirtualMemory
from kdump_gdbserver.ports.crash_dump import CrashDump, Translation

_END = 1 << 64
_XEN = "the page tables of a Xen domain hold the machine's addresses, not those of its memory"
_UNKNOWN = "the kernel's form of page tables is not known; give its VMCOREINFO"
# Faults that a page table itself reports; with any other a table is missing.
_TOLD = (FaultReason.UNMAPPED, FaultReason.SWAPPED)


class DumpMemory:
    """Makes address spaces over one dump, each for use by one thread.

    Pages are found through the machine's own page tables. If these cannot be found, or the kernel's
    are not in the dump, the dump's own translation is used, if it has one.
    """

    def __init__(self, dump: CrashDump) -> None:
        self.dump = dump
        self._cache = TableCache()

    def physical(self) -> AddressSpace:
        """The machine's physical memory."""
        return self.dump.physical()

    def kernel(self) -> AddressSpace:
        """Kernel virtual memory."""
        physical = self.dump.physical()
        start = self.dump.facts.arch.kernel_start
        return VirtualMemory(physical, self._kernel_translator(physical), start, _END)

    def process(self, root: RootTable) -> AddressSpace:
        """Virtual memory of one process, without the kernel's half.

        Raises `MemoryFault` when the page table's address cannot be translated.
        """
        physical, translation = self.dump.physical(), self.dump.translation
        where = self._where(root)
        if self.tables is not None:
            tables = self._page_tables(self.tables, physical, where)
            return VirtualMemory(physical, tables, 0, self.tables.form.user_end)
        if translation is None:
            raise MemoryFault(root.address, FaultReason.UNMAPPED, self._unknown)
        return VirtualMemory(physical, translation.process(where), 0, translation.user_end)

    def walk(self, address: int, root: RootTable | None = None) -> PageWalk:
        """Walk to a virtual address through the kernel's page table.

        With `root`, walk a process's page table to a user address. Raises `MemoryFault` when no
        page table is known.
        """
        kernels = root is None or 0 < self.dump.facts.arch.kernel_start <= address
        where = None if root is None or kernels else self._where(root)
        if self.tables is not None:
            if where is None:
                return self._kernel_walker.walk(address)
            return self._page_tables(self.tables, self._for_tables, where).walk(address)
        if self.dump.translation is None:
            raise MemoryFault(address, FaultReason.UNMAPPED, self._unknown)
        return self.dump.translation.walk(address, where)

    @property
    def trouble(self) -> str | None:
        """Why kernel addresses cannot be translated, None when they can."""
        if self.tables is not None:
            return None
        translation = self.dump.translation
        return self._unknown if translation is None else translation.trouble

    @property
    def _unknown(self) -> str:
        return _XEN if self.dump.facts.xen else _UNKNOWN

    @functools.cached_property
    def _for_tables(self) -> AddressSpace:
        """Physical memory for single walks, which need no space of their own."""
        return self.dump.physical()

    @functools.cached_property
    def tables(self) -> KernelTables | None:
        """The kernel's page tables, None where they cannot be found."""
        dump = self.dump
        paging = dump.facts.arch.paging
        if paging is None or dump.facts.xen:
            return None
        found = paging.find(dump.vmcoreinfo, self._for_tables)
        if found is not None and self._lead_to(found, found.mapped_at, found.root):
            return found
        return self._tables_of_cpus()

    def _tables_of_cpus(self) -> KernelTables | None:
        """Return the page tables of a CPU that was running kernel code."""
        arch = self.dump.facts.arch
        if arch.paging is None or arch.paging.of_cpu is None:
            return None
        for note in self.dump.cpu_notes():
            pc, found = note.registers.get(arch.pc, 0), arch.paging.of_cpu(note.control)
            # A table that does not map the running code is not the kernel's full table.
            if found is not None and pc >= arch.kernel_start and self._lead_to(found, pc, None):
                return found
        return None

    def _lead_to(self, tables: KernelTables, address: int | None, physical: int | None) -> bool:
        """Whether page tables map an address, to a physical one if that is given.

        Tables that the dump lacks are no evidence against the address.
        """
        if address is None:
            return True
        walk = self._page_tables(tables, self._for_tables, None).walk(address)
        if walk.physical is None:
            facts = self.dump.facts
            is_whole = not facts.truncated and not facts.parts_missing
            told = walk.fault in _TOLD or (walk.fault is FaultReason.EXCLUDED and is_whole)
            return physical is not None and not told
        return physical is None or walk.physical == physical

    @functools.cached_property
    def _kernel_walker(self) -> PageTables:
        assert self.tables is not None
        return self._page_tables(self.tables, self._for_tables, None)

    def _page_tables(
        self, tables: KernelTables, physical: AddressSpace, process: int | None
    ) -> PageTables:
        """Return the page tables of the kernel, or below the top table of a process."""
        return PageTables(
            tables.form,
            tables.root if process is None else process,
            physical,
            self.dump.facts.arch.byte_order,
            upper=process is None,
            cache=self._cache,
        )

    def _kernel_translator(self, physical: AddressSpace) -> Translator:
        translation = self.dump.translation
        if self.tables is not None:
            own = self._page_tables(self.tables, physical, None)
            return own if translation is None else _WithSubstitute(own, translation)
        if translation is None:
            return _NoTranslator(self.dump.facts.page_size, self._unknown)
        return translation.kernel()

    def _where(self, root: RootTable) -> int:
        """Return the physical address of a top page table."""
        if not root.is_virtual:
            return root.address
        translator = self._kernel_translator(self._for_tables)
        return translator.run(root.address, root.address + 1)[0]


class _WithSubstitute(Translator):
    """The kernel's page tables, and another translation for tables that the dump lacks.

    The other translation may know the kernel's text and the direct map by their addresses alone.
    """

    def __init__(self, tables: PageTables, translation: Translation) -> None:
        self.page_size = tables.page_size
        self._run = tables.run
        self._translation = translation

    def run(self, address: int, end: int) -> tuple[int, int]:
        """See `Translator.run`."""
        try:
            return self._run(address, end)
        except MemoryFault as fault:
            if fault.reason in _TOLD:
                raise
            try:
                return self._substitute.run(address, end)
            except MemoryFault:
                raise fault from None

    @functools.cached_property
    def _substitute(self) -> Translator:
        return self._translation.kernel()


class _NoTranslator(Translator):
    """Stands in for unknown page tables."""

    def __init__(self, page_size: int, unknown: str) -> None:
        self.page_size = page_size
        self._unknown = unknown

    def run(self, address: int, end: int) -> tuple[int, int]:
        """See `Translator.run`."""
        raise MemoryFault(address, FaultReason.UNMAPPED, self._unknown)
