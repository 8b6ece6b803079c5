"""KdumpfileDump: the CrashDump over an open libkdumpfile context."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import Bounds
from kdump_gdbserver.adapters.kdumpfile.formats.dumped_pages import DumpedParts
from kdump_gdbserver.adapters.kdumpfile.formats.file_place import find_place, stored_memory
from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.adapters.kdumpfile.library.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.library.bindings import MACHPHYSADDR
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory.cut_dump import CheckedTranslator, PageTranslator
from kdump_gdbserver.adapters.kdumpfile.memory.elf_memory import ElfMemory
from kdump_gdbserver.adapters.kdumpfile.memory.kdump_memory import KdumpAddressSpace
from kdump_gdbserver.adapters.kdumpfile.memory.page_cache import PageCache
from kdump_gdbserver.adapters.kdumpfile.memory.page_walker import PageWalker
from kdump_gdbserver.adapters.kdumpfile.memory.translated import TranslatedAddressSpace
from kdump_gdbserver.adapters.kdumpfile.memory.translation import (
    KernelTranslator,
    ProcessTranslator,
)
from kdump_gdbserver.adapters.kdumpfile.notes import read_cpu_notes
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import FilePlace, PageWalk
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_Space = ElfMemory | KdumpAddressSpace | TranslatedAddressSpace

_KERNEL_HALF = 1 << 63
_END = 1 << 64


class KdumpfileDump:
    """An open dump; implements `ports.crash_dump.CrashDump`.

    Every address space has a clone of the context, which shares the file and the page
    cache. Reads of a plain ELF dump run side by side; libkdumpfile takes one thread at a
    time, for one page table or one buffer of pages. Locks are taken in the order of this
    object, the address space, the context.
    """

    def __init__(
        self,
        context: Context,
        files: DumpFiles,
        facts: DumpFacts,
        vmcoreinfo: Vmcoreinfo,
        headers: Sequence[FileHeader],
    ) -> None:
        """Take over the context and the files."""
        self._context = context
        self._facts = facts
        self._vmcoreinfo = vmcoreinfo
        self._header = headers[0]
        self._headers = headers
        self._cache = PageCache(facts.page_size)
        self._bounds = _bounds(headers, facts.page_size)
        self._notes: tuple[CpuNote, ...] | None = None
        self._files = context.files = files
        self._spaces: weakref.WeakSet[_Space] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def facts(self) -> DumpFacts:
        """What is known of the dump."""
        return self._facts

    @property
    def vmcoreinfo(self) -> Vmcoreinfo:
        """The VMCOREINFO, without a line when the dump has none."""
        return self._vmcoreinfo

    def cpu_notes(self) -> Sequence[CpuNote]:
        """Return the CPUs' prstatus notes in the order of the dump."""
        with self._lock, self._context.lock:
            if self._notes is None:
                notes = read_cpu_notes(Attributes(self._context), self._facts.arch)
                self._notes = tuple(notes)
            return self._notes

    def kernel(self) -> AddressSpace:
        """Kernel virtual memory, through the kernel's own page tables."""
        with self._lock, self._context.lock:
            translator = KernelTranslator(self._context.clone())
            return self._translated(translator, _KERNEL_HALF, _END, None)

    def physical(self) -> AddressSpace:
        """The machine's physical memory."""
        with self._lock, self._context.lock:
            return self._keep(self._physical())

    def process(self, root_table: int) -> AddressSpace:
        """Virtual memory below the page table at `root_table`, physical or kernel virtual."""
        with self._lock, self._context.lock:
            if root_table >= _KERNEL_HALF:
                root_table = self._physical_address(root_table)
            translator = ProcessTranslator(self._context.clone(), self._facts.arch, root_table)
            return self._translated(translator, 0, translator.end, root_table)

    def page_walk(self, address: int, root_table: int | None = None) -> PageWalk:
        """See `CrashDump.page_walk`."""
        with self._lock, self._context.lock:
            if root_table is not None and root_table >= _KERNEL_HALF:
                root_table = self._physical_address(root_table)
            return self._walk(address, root_table)

    def file_place(self, physical: int) -> FilePlace | None:
        """See `CrashDump.file_place`."""
        self._files[0]  # raises when closed
        return find_place(self._facts.paths, self._headers, self._facts.page_size, physical)

    def stored_memory(self) -> int:
        """See `CrashDump.stored_memory`."""
        self._files[0]
        return stored_memory(self._headers, self._facts.page_size)

    def close(self) -> None:
        """Let the file and all memory go; reading afterwards raises `ValueError`."""
        with self._lock:
            for space in list(self._spaces):
                space.close()
            self._context.close()
            self._files.close()

    def _physical(self) -> ElfMemory | KdumpAddressSpace:
        extents = self._header.extents
        if extents is not None and not self._header.flattened:
            return ElfMemory(self._files, extents)
        # Machine-physical, as kernel-physical addresses need a working translation.
        return KdumpAddressSpace(self._context.clone(), MACHPHYSADDR, self._cache, self._bounds)

    def _physical_address(self, address: int) -> int:
        translator = KernelTranslator(self._context.clone())
        try:
            return translator.translate(address)
        finally:
            translator.close()

    def _walk(self, address: int, root_table: int | None) -> PageWalk:
        walker = self._walker(root_table)
        try:
            return walker.walk(address)
        finally:
            walker.close()

    def _walker(self, root_table: int | None) -> PageWalker:
        return PageWalker(self._context.clone(), self._facts.arch, root_table, self._bounds)

    def _translated(
        self, translator: PageTranslator, start: int, end: int, root_table: int | None
    ) -> AddressSpace:
        def explain(fault: MemoryFault) -> MemoryFault:
            # A page table behind the end of the file looks to libkdumpfile as if it were empty.
            if fault.reason is FaultReason.TRUNCATED or not self._is_cut():
                return fault
            with self._context.lock:
                try:
                    walk = self._walk(fault.address, root_table)
                except MemoryFault:
                    return fault
            if walk.fault is not FaultReason.TRUNCATED:
                return fault
            return MemoryFault(fault.address, walk.fault, walk.detail)

        if any(header.truncated for header in self._headers):
            translator = CheckedTranslator(translator, self._walker(root_table))
        size, physical = self._facts.page_size, self._physical()
        space = TranslatedAddressSpace(physical, translator, size, start, end, explain=explain)
        return self._keep(space)

    def _is_cut(self) -> bool:
        return any(header.truncated for header in self._headers) or self._files.have_shrunk()

    def _keep(self, space: _Space) -> _Space:
        """Remember a space as long as it is in use, to close it with the dump."""
        self._spaces.add(space)
        return space


def _bounds(headers: Sequence[FileHeader], page_size: int) -> Bounds | None:
    """Return which physical memory the files hold, None when only libkdumpfile knows."""
    parts = [header.held for header in headers if header.held is not None]
    if len(parts) > 1:
        return DumpedParts(parts, page_size)
    return parts[0] if parts else headers[0].extents
