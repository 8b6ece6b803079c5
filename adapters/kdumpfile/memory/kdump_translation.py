"""libkdumpfile's own translation of addresses."""

from __future__ import annotations

import functools
import weakref

from kdump_gdbserver.adapters.kdumpfile.formats.bounds import Bounds
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory.cut_dump import CheckedTranslator
from kdump_gdbserver.adapters.kdumpfile.memory.page_walker import PageWalker
from kdump_gdbserver.adapters.kdumpfile.memory.translation import (
    KernelTranslator,
    LibraryTranslator,
    ProcessTranslator,
)
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.page_tables import Translator
from kdump_gdbserver.domain.page_walk import PageWalk


class KdumpTranslation:
    """Translates by libaddrxlat; implements `ports.crash_dump.Translation`.

    It is set up when first asked for: that can take long in a large or a damaged dump, and
    most dumps never need it.
    """

    def __init__(
        self,
        context: Context,
        arch: Arch,
        page_size: int,
        bounds: Bounds | None,
        *,
        truncated: bool,
    ) -> None:
        """Share the context; `bounds` and the rest are as in `PageWalker`, `CheckedTranslator`."""
        self._context = context
        self._arch = arch
        self._page_size = page_size
        self._bounds = bounds
        self._truncated = truncated
        self._translators: weakref.WeakSet[CheckedTranslator] = weakref.WeakSet()

    @functools.cached_property
    def trouble(self) -> str | None:
        """See `Translation.trouble`."""
        with self._context.lock:
            return self._context.settle_translation()

    @functools.cached_property
    def user_end(self) -> int:
        """See `Translation.user_end`."""
        with self._context.lock:
            translator = ProcessTranslator(self._clone(), self._page_size, self._arch, 0)
            try:
                return translator.end
            finally:
                translator.close()

    def kernel(self) -> Translator:
        """See `Translation.kernel`."""
        with self._context.lock:
            return self._checked(KernelTranslator(self._clone(), self._page_size), None)

    def process(self, root: int) -> Translator:
        """See `Translation.process`."""
        with self._context.lock:
            translator = ProcessTranslator(self._clone(), self._page_size, self._arch, root)
            return self._checked(translator, root)

    def walk(self, address: int, root: int | None = None) -> PageWalk:
        """See `Translation.walk`."""
        with self._context.lock:
            walker = self._walker(root)
            try:
                return walker.walk(address)
            finally:
                walker.close()

    def close(self) -> None:
        """Close what was handed out; translating afterwards raises `ValueError`."""
        for translator in list(self._translators):
            translator.close()

    def _clone(self) -> Context:
        # Clones share the set-up; if two do it at the same time, one would see it half made.
        _ = self.trouble
        return self._context.clone()

    def _walker(self, root: int | None) -> PageWalker:
        return PageWalker(self._clone(), self._page_size, self._arch, root, self._bounds)

    def _checked(self, translator: LibraryTranslator, root: int | None) -> CheckedTranslator:
        checked = CheckedTranslator(translator, self._walker(root), truncated=self._truncated)
        self._translators.add(checked)
        return checked
