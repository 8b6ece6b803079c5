"""Translators: virtual page addresses to physical ones, by libaddrxlat."""

from __future__ import annotations

import ctypes
from typing import Any, cast

from kdump_gdbserver.adapters.kdumpfile.library.bindings import (
    KIND_NONE,
    KIND_PAGE_TABLE,
    KPHYSADDR,
    KVADDR,
    MACHPHYSADDR,
    METHOD_PAGE_TABLE,
    Bindings,
    FullAddress,
    Method,
    Step,
    TranslationStatus,
)
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory.kdump_memory import REASONS
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.arch.paging import EntryKind, TableForm
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_tables import Translator

_REASONS: dict[int, FaultReason] = {
    TranslationStatus.NOTPRESENT: FaultReason.UNMAPPED,
    TranslationStatus.INVALID: FaultReason.UNMAPPED,
    TranslationStatus.NOMETH: FaultReason.UNMAPPED,
    TranslationStatus.NODATA: FaultReason.EXCLUDED,
}

_ANY_BITS = 64  # nothing is translated anyway


def can_translate(functions: Bindings, arch: Arch) -> bool:
    """Whether this libaddrxlat knows the architecture's page tables."""
    name = arch.kdumpfile_name.encode()
    return bool(name and functions.addrxlat_pte_format(name) > 0)


def form_of(arch: Arch, method: Method) -> TableForm | None:
    """Return the form of page tables that a method walks, to tell what entries say."""
    form = method.pgt.pf
    if arch.paging is None or method.kind != KIND_PAGE_TABLE or not form.nfields:
        return None
    return arch.paging.form(1 << form.fieldsz[0], sum(form.fieldsz[: form.nfields]))


class LibraryTranslator(Translator):
    """libaddrxlat's view of one context: its callbacks and its translation system."""

    def __init__(self, context: Context, page_size: int) -> None:
        """Take the context over; a set-up that fails is told by each `run`."""
        self.page_size = page_size
        self._context = context
        self._lock = context.lock
        functions = self._functions = context.functions
        ctx, system = ctypes.c_void_p(), ctypes.c_void_p()
        status = functions.kdump_get_addrxlat(
            context.pointer, ctypes.byref(ctx), ctypes.byref(system)
        )
        self._ctx: Any = None
        self._system: Any = None
        self._refusal: tuple[FaultReason, str] | None = None
        if status:
            self._refuse(context.error, REASONS.get(status, FaultReason.IO))
            return
        # Both are borrowed from the context. A reference of our own could outlive it, and
        # the pages that libaddrxlat holds would then be given back to freed memory.
        functions.addrxlat_ctx_decref(ctx)
        functions.addrxlat_sys_decref(system)
        self._ctx = ctx.value
        self._system = system.value

    def kernel_method(self) -> Method | None:
        """Return a copy of how the kernel's page table is walked, None when that is unknown."""
        if self._system is None:
            return None
        pointer = self._functions.addrxlat_sys_get_meth(self._system, METHOD_PAGE_TABLE)
        if not pointer:
            return None
        method = Method.from_buffer_copy(ctypes.string_at(pointer, ctypes.sizeof(Method)))
        return None if method.kind == KIND_NONE else method

    def run(self, address: int, end: int) -> tuple[int, int]:
        """See `Translator.run`."""
        page_size = self.page_size
        offset = address % page_size
        with self._lock:
            self._require_usable(address)
            translate = self._translate
            try:
                where = translate(address - offset) + offset
            except MemoryFault as fault:
                self._context.require_unchanged(address)
                raise MemoryFault(address, fault.reason, fault.detail) from None
            at = address - offset + page_size
            distance = where - address
            while at < end:
                try:
                    if translate(at) - at != distance:
                        break
                except MemoryFault:
                    break
                at += page_size
            self._context.require_unchanged(address)
        return where, min(at, end) - address

    def _require_usable(self, address: int) -> None:
        self._context.require_open()
        if self._refusal is not None:
            raise MemoryFault(address, *self._refusal)

    def _translate(self, address: int) -> int:
        raise NotImplementedError

    def close(self) -> None:
        """Free the context; translating afterwards raises `ValueError`."""
        self._context.close()

    def _refuse(self, detail: str, reason: FaultReason = FaultReason.UNMAPPED) -> None:
        """Let every translation fail, unless there is a reason for that already."""
        self._refusal = self._refusal or (reason, detail)

    def _fault(self, address: int, status: int) -> MemoryFault:
        reasons = _REASONS if status > 0 else REASONS
        raw: bytes | None = self._functions.addrxlat_ctx_get_err(self._ctx)
        detail = raw.decode("utf-8", "replace") if raw else ""
        self._functions.addrxlat_ctx_clear_err(self._ctx)
        return MemoryFault(address, reasons.get(abs(status), FaultReason.IO), detail)


class KernelTranslator(LibraryTranslator):
    """Kernel virtual addresses, by the map that libaddrxlat made for the kernel."""

    def __init__(self, context: Context, page_size: int) -> None:
        super().__init__(context, page_size)
        self._full = FullAddress()
        self._reference = ctypes.byref(self._full)
        self._convert = context.functions.addrxlat_fulladdr_conv

    def _translate(self, address: int) -> int:
        full = self._full
        full.addr = address
        full.as_ = KVADDR
        status = self._convert(self._reference, MACHPHYSADDR, self._ctx, self._system)
        if status:
            raise self._fault(address, status)
        return cast(int, full.addr)


class ProcessTranslator(LibraryTranslator):
    """User virtual addresses, by the page table of one process."""

    def __init__(self, context: Context, page_size: int, arch: Arch, root: int) -> None:
        """`root` is the page table's physical address."""
        super().__init__(context, page_size)
        self._split = arch.paging is not None and arch.paging.split
        method = self.kernel_method()
        if method is None or method.kind != KIND_PAGE_TABLE:
            # Guessing the number of levels could show the bytes of another page.
            method = Method(kind=KIND_PAGE_TABLE, target_as=KPHYSADDR)
            self._refuse("the kernel's form of page tables is not known; give its VMCOREINFO")
        method.pgt.root.addr = root
        method.pgt.root.as_ = KPHYSADDR
        self._method = method
        self._form = form_of(arch, method)
        self._step = Step(ctx=self._ctx, sys=self._system, meth=ctypes.addressof(method))
        self._reference = ctypes.byref(self._step)
        self._walk = context.functions.addrxlat_walk

    @property
    def end(self) -> int:
        """The first address above the user half.

        The highest bit belongs to the kernel where addresses are sign-extended; aarch64
        has a table register for each half instead (Arm ARM, D8.2).
        """
        form = self._method.pgt.pf
        bits: int = sum(form.fieldsz[: form.nfields]) or _ANY_BITS
        return 1 << (bits if self._split else bits - 1)

    def _translate(self, address: int) -> int:
        # Swapped-out pages are told apart, pages only hidden from the hardware are found.
        step = self._step
        step.base.addr = address
        step.base.as_ = KVADDR
        status = self._walk(self._reference)
        if not status:
            return cast(int, step.base.addr)
        fault = self._fault(address, status)
        if status == TranslationStatus.NOTPRESENT and self._form is not None:
            kind, start, size = self._form.decode(step.raw, step.remain)
            if kind is EntryKind.HIDDEN:
                return start + address % size
            if kind is EntryKind.SWAPPED:
                raise MemoryFault(fault.address, FaultReason.SWAPPED, fault.detail)
        raise fault
