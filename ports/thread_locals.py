"""ThreadLocals: where a thread's own variables are."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.domain.threads import Thread
from kdump_gdbserver.ports.symbol_questions import SymbolQuestions


class ThreadLocals(SymbolQuestions, Protocol):
    """Finds thread-local variables, with symbols that only the debugger can look up."""

    def address(self, thread: Thread, offset: int, link_map: int) -> int:
        """Return where the variable at `offset` of a module's thread-local block is.

        `link_map` is the address of the module's `struct link_map`, 0 for a static program.
        Raises `LookupError` with the reason in words, or `MemoryFault`.
        """
