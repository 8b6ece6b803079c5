"""PageWalker: a page-table walk that shows each step, by libaddrxlat."""

from __future__ import annotations

import ctypes

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import Bounds
from kdump_gdbserver.adapters.kdumpfile.library.bindings import (
    KIND_PAGE_TABLE,
    KPHYSADDR,
    KVADDR,
    MACHPHYSADDR,
    FullAddress,
    Method,
    Step,
    TranslationStatus,
)
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory.translation import LibraryTranslator, form_of
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.arch.paging import EntryKind
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import PageWalk, TableEntry


class PageWalker(LibraryTranslator):
    """Walks the kernel's page table, or the one at a physical address."""

    def __init__(
        self,
        context: Context,
        page_size: int,
        arch: Arch,
        root: int | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Take the context over; `root` is a page table's physical address.

        `bounds`, where known, tells which tables are in the file: to libkdumpfile, tables beyond
        the end of a cut file look as if nothing was mapped.
        """
        super().__init__(context, page_size)
        self._bounds = bounds
        self.is_torn = False  # whether the last walk ended at an entry of which the end is cut off
        method = self.kernel_method()
        if method is None or method.kind != KIND_PAGE_TABLE:
            method = Method(kind=KIND_PAGE_TABLE, target_as=KPHYSADDR)
            self._refuse("the kernel's form of page tables is not known; give its VMCOREINFO")
        elif root is not None:
            method.pgt.root.addr = root
            method.pgt.root.as_ = KPHYSADDR
        self._method = method
        # Of the kernel no page is swapped out, nor hidden from the hardware.
        self._form = None if root is None else form_of(arch, method)
        form = method.pgt.pf
        # Bits of an address that an entry of each level stands for; level 0 is the page's own.
        self._bits = [sum(form.fieldsz[: level + 1]) for level in range(form.nfields)]

    def walk(self, address: int) -> PageWalk:
        """Return the walk to an address; a walk that fails says so itself.

        Raises `MemoryFault` when no page table is known.
        """
        with self._context.lock:
            self._context.require_open()
            if self._refusal is not None:
                raise MemoryFault(address, *self._refusal)
            walk = self._walk(address)
            self._context.require_unchanged(address)
            return walk

    def _walk(self, address: int) -> PageWalk:
        self.is_torn = False
        step = Step(ctx=self._ctx, sys=self._system, meth=ctypes.addressof(self._method))
        status = self._functions.addrxlat_launch(ctypes.byref(step), address)
        if status:
            fault = self._fault(address, status)
            span = 1 << self._bits[-1] - 1  # no larger than half of what is canonical
            return PageWalk(address, (), span, None, None, fault.reason, fault.detail)
        entries: list[TableEntry] = []
        while step.remain:
            if step.remain == 1:  # what is left is the offset in the page
                status = self._functions.addrxlat_step(ctypes.byref(step))
                break
            level = step.remain - 1
            place = step.base.addr + step.idx[level] * step.elemsz
            place = self._physical_of(place, step.base.as_)
            if self._bounds is not None:
                there = self._bounds.available(place, step.elemsz)
                if there < step.elemsz:
                    self.is_torn = self._bounds.is_torn(place, step.elemsz)
                    return self._lost(address, place + there, tuple(entries))
            status = self._functions.addrxlat_step(ctypes.byref(step))
            if status not in (TranslationStatus.OK, TranslationStatus.NOTPRESENT):
                break  # the entry itself could not be read
            entries.append(TableEntry(level, place, step.raw))
            if status:
                break
        span = 1 << self._bits[entries[-1].level - 1] if entries else 1 << self._bits[-1]
        if not status:
            return PageWalk(address, tuple(entries), span, step.base.addr, span)
        return self._failed(address, status, tuple(entries), span)

    def _unread_span(self, entries: tuple[TableEntry, ...]) -> int:
        """Return the size that the unreadable entry after these stands for."""
        bits: int = self._bits[max(entries[-1].level - 2, 0) if entries else -1]
        return 1 << bits

    def _lost(self, address: int, place: int, entries: tuple[TableEntry, ...]) -> PageWalk:
        """Return a walk that ends at an entry of which the file lacks the byte at `place`."""
        assert self._bounds is not None
        reason, detail = self._bounds.reason(place), f"the page table's entry at {place:#x}"
        return PageWalk(address, entries, self._unread_span(entries), None, None, reason, detail)

    def _failed(
        self, address: int, status: int, entries: tuple[TableEntry, ...], span: int
    ) -> PageWalk:
        fault = self._fault(address, status)
        reason = fault.reason
        if status == TranslationStatus.NOTPRESENT and entries and self._form is not None:
            kind, start, size = self._form.decode(entries[-1].value, entries[-1].level)
            if kind is EntryKind.HIDDEN:
                return PageWalk(address, entries, span, start + address % size, size)
            if kind is EntryKind.SWAPPED:
                reason = FaultReason.SWAPPED
        elif reason is not FaultReason.UNMAPPED and entries:
            span = self._unread_span(entries)
        return PageWalk(address, entries, span, None, None, reason, fault.detail)

    def _physical_of(self, address: int, space: int) -> int:
        """Return the physical address of a table that is known by another one."""
        if space != KVADDR:
            return address
        full = FullAddress(addr=address, as_=space)
        status = self._functions.addrxlat_fulladdr_conv(
            ctypes.byref(full), MACHPHYSADDR, self._ctx, self._system
        )
        if status:
            fault = self._fault(address, status)
            raise MemoryFault(address, fault.reason, f"the top page table: {fault.detail}")
        return int(full.addr)
