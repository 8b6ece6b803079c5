"""Context: the ownership of one kdump_ctx_t."""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import Any

from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.library.bindings import Bindings


class Context:
    """One kdump_ctx_t; it is freed when closed, or when nothing refers to it any more.

    `lock` is one for all contexts of a dump, and every call into libkdumpfile needs it:
    its clones share a cache of the file's blocks, and one thread's block is overwritten
    while another decompresses it (seen as crashes of 0.5.1 and of `.so.12`). It can be
    taken again by its owner, because the garbage collector may free a context anywhere.
    """

    def __init__(
        self, functions: Bindings, pointer: int | None, shared: Context | None = None
    ) -> None:
        """Take over a pointer from libkdumpfile, of a clone when there is one `shared` with.

        `files` are kept open with the context.
        """
        if not pointer:
            raise MemoryError("libkdumpfile could not allocate a context")
        self.functions: Any = functions
        self.files: DumpFiles | None = shared.files if shared else None
        self.lock: threading.RLock = shared.lock if shared else threading.RLock()
        self._pointer: int | None = pointer
        self._free = weakref.finalize(self, _free, functions, pointer, self.lock)
        # Not at exit: a thread that is still reading would read freed memory.
        self._free.atexit = False

    @classmethod
    def new(cls, functions: Bindings) -> Context:
        """Make an empty context."""
        return cls(functions, functions.kdump_new())

    def clone(self, flags: int = 0) -> Context:
        """Return a context over the same file, with error text and translation state of its own."""
        with self.lock:
            return Context(self.functions, self.functions.kdump_clone(self.pointer, flags), self)

    @property
    def pointer(self) -> int:
        """The kdump_ctx_t; `ValueError` when the context is closed."""
        if self._pointer is None:
            raise ValueError("the dump is closed")
        return self._pointer

    def require_open(self) -> None:
        """Raise `ValueError` when the context is closed."""
        if self._pointer is None:
            raise ValueError("the dump is closed")

    def require_unchanged(self, address: int) -> None:
        """Raise `MemoryFault` for `address` if the files have changed; the library ignores it."""
        if self.files is not None:
            self.files.require_unchanged(address)

    @property
    def error(self) -> str:
        """libkdumpfile's words for the last failure, "" when there was none."""
        raw: bytes | None = self.functions.kdump_get_err(self.pointer)
        return raw.decode("utf-8", "replace") if raw else ""

    def vmcoreinfo(self) -> bytes | None:
        """Return a copy of the raw VMCOREINFO text, or None when there is none."""
        text = ctypes.c_void_p()
        if self.functions.kdump_vmcoreinfo_raw(self.pointer, ctypes.byref(text)):
            self.functions.kdump_clear_err(self.pointer)
            return None
        try:
            return ctypes.string_at(text) if text.value else None
        finally:
            self.functions.free(text)

    def settle_translation(self) -> str | None:
        """Set up address translation now; return libkdumpfile's message if that fails.

        Clones share it; if two set it up at the same time, one would see it half made.
        """
        if self.functions.kdump_get_addrxlat(self.pointer, None, None):
            return self.error
        return None

    def abandon(self) -> None:
        """Forget the context without freeing it, after opening has failed half-way.

        libkdumpfile 0.5.1 would free what it never allocated.
        """
        self._pointer = None
        self._free.detach()

    def close(self) -> None:
        """Free the context; doing it again does nothing."""
        with self.lock:
            self._pointer = None
            self._free()


def _free(functions: Any, pointer: int, lock: threading.RLock) -> None:
    with lock:
        functions.kdump_free(pointer)
