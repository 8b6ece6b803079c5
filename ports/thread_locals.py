"""ThreadLocals: where a thread's own variables are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kdump_gdbserver.domain.threads import Thread


class ThreadLocals(Protocol):
    """Finds thread-local variables, with symbols that only the debugger can look up."""

    @property
    def wanted(self) -> Sequence[str]:
        """The names of the symbols whose addresses are needed."""

    def tell(self, name: str, address: int | None) -> None:
        """Take a symbol's run-time address, None when the debugger does not know it."""

    def address(self, thread: Thread, offset: int, link_map: int) -> int:
        """Return where the variable at `offset` of a module's thread-local block is.

        `link_map` is the address of the module's `struct link_map`, 0 for a static program.
        Raises `LookupError` with the reason in words, or `MemoryFault`.
        """
