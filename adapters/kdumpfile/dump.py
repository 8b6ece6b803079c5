"""KdumpfileDump: the CrashDump over an open libkdumpfile context."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import Bounds
from kdump_gdbserver.adapters.kdumpfile.formats.dumped_pages import DumpedParts
from kdump_gdbserver.adapters.kdumpfile.formats.file_place import KdumpFilePlaces
from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.adapters.kdumpfile.library.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.library.bindings import MACHPHYSADDR
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory.elf_memory import ElfMemory
from kdump_gdbserver.adapters.kdumpfile.memory.kdump_memory import KdumpAddressSpace
from kdump_gdbserver.adapters.kdumpfile.memory.kdump_translation import KdumpTranslation
from kdump_gdbserver.adapters.kdumpfile.memory.page_cache import PageCache
from kdump_gdbserver.adapters.kdumpfile.memory.translation import can_translate
from kdump_gdbserver.adapters.kdumpfile.notes import read_cpu_notes
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.cpu_notes import cpu_notes
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_Space = ElfMemory | KdumpAddressSpace


class KdumpfileDump:
    """An open dump; implements `ports.crash_dump.CrashDump`.

    Every address space has a clone of the context, which shares the file and the page
    cache. Reads of a plain ELF dump run side by side; libkdumpfile takes one thread at a
    time, for one translation or one buffer of pages. Locks are taken in the order of this
    object, the address space, the context.
    """

    def __init__(
        self,
        context: Context,
        files: DumpFiles,
        facts: DumpFacts,
        vmcoreinfo: Vmcoreinfo,
        headers: Sequence[FileHeader],
        *,
        page_size: int,
    ) -> None:
        """Take over the context and the files; `page_size` is that of their pages, in bytes."""
        self._context = context
        self.facts = facts
        self.vmcoreinfo = vmcoreinfo
        self._headers = headers
        self._cache = PageCache(page_size)
        self._bounds = _bounds(headers, page_size)
        self._notes: tuple[CpuNote, ...] | None = None
        self._files = context.files = files
        self._spaces: weakref.WeakSet[_Space] = weakref.WeakSet()
        self._translations: weakref.WeakSet[KdumpTranslation] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.places = KdumpFilePlaces(files, facts.paths, headers, page_size)
        # For no other: libaddrxlat looks through all of the kernel's tables, also where these lead
        # back to themselves, and trusts the symbols of VMCOREINFO.
        self.translation = self.library_translation() if facts.arch.paging is None else None

    def cpu_notes(self) -> Sequence[CpuNote]:
        """Return the CPUs' prstatus notes in the order of the dump."""
        with self._lock:
            if self._notes is None:
                found = cpu_notes(
                    self._headers[0].notes, self.facts.arch, self._headers[0].byte_order
                )
                self._notes = tuple(found) if found else self._notes_of_library()
            return self._notes

    def physical(self) -> AddressSpace:
        """Return an address space of the machine's physical memory."""
        with self._lock:
            self._files.require_open()
            extents = self._headers[0].extents
            space: _Space
            if extents is not None and self._headers[0].is_plain_elf:
                space = ElfMemory(self._files, extents)
            else:
                # Machine-physical, as kernel-physical addresses need a working translation.
                space = KdumpAddressSpace(
                    self._context.clone(), MACHPHYSADDR, self._cache, self._bounds
                )
            self._spaces.add(space)  # to be closed with the dump, if it is still in use by then
            return space

    def library_translation(self) -> KdumpTranslation | None:
        """Return libkdumpfile's own translation, for dumps that are trusted; None if it has none.

        A hostile dump can make it crash, or run for ever.
        """
        page_size = self._cache.page_size
        if not can_translate(self._context.functions, self.facts.arch):
            return None
        if page_size != self.facts.page_size:
            return None  # it reads tables in pages of the machine's size, and mixes larger ones up
        with self._context.lock:
            Attributes(self._context).set_string("addrxlat.ostype", "linux")
        translation = KdumpTranslation(
            self._context,
            self.facts.arch,
            page_size,
            self._bounds,
            truncated=any(header.truncated for header in self._headers),
        )
        self._translations.add(translation)
        return translation

    def close(self) -> None:
        """Close the file and free all memory; reading afterwards raises `ValueError`."""
        with self._lock:
            self.close_spaces()
            with self._context.lock:
                for translation in list(self._translations):
                    translation.close()
                self._context.close()
            self._files.close()

    def close_spaces(self) -> None:
        """Close all address spaces that were made so far."""
        for space in list(self._spaces):
            space.close()

    def _notes_of_library(self) -> tuple[CpuNote, ...]:
        with self._context.lock:
            return tuple(read_cpu_notes(Attributes(self._context), self.facts.arch))


def _bounds(headers: Sequence[FileHeader], page_size: int) -> Bounds | None:
    """Return which physical memory the files hold, None when only libkdumpfile knows."""
    parts = [header.held for header in headers if header.held is not None]
    if len(parts) > 1:
        return DumpedParts(parts, page_size)
    return parts[0] if parts else headers[0].extents
