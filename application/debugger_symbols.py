"""Whether the debugger has the kernel's symbols.

gdb offers symbols each time that it has loaded a file (`qSymbol`). One that it loads when it is
connected it does not move to where the kernel is, unless told by `file -o`; it says nothing of
that, and even with `-o` it asks before it has moved the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

# A function that every kernel has, and its table of names as well.
_FUNCTION = "panic"


class DebuggerSymbols:
    """Compares the debugger's address of a function with the kernel's.

    Implements `ports.asked_symbols.AskedSymbols`. `find` looks a symbol up in the dump, and is
    called only when somebody asks; `offset` is by how much KASLR moved the kernel.
    """

    def __init__(self, find: Callable[[str], int | None], offset: int | None) -> None:
        self._find = find
        self._offset = offset or 0
        self._told: int | None = None

    @property
    def wanted(self) -> Sequence[str]:
        """See `AskedSymbols.wanted`."""
        return (_FUNCTION,)

    def tell(self, name: str, address: int | None) -> None:
        """See `AskedSymbols.tell`."""
        if name == _FUNCTION:
            self._told = address

    @property
    def note(self) -> str:
        """Say what has to be known of the debugger's symbols; "" if they are right, or not told."""
        if self._told is None:
            return ""
        there = self._find(_FUNCTION)
        if there is None or there == self._told:
            return ""
        if there - self._told == self._offset:
            option = f"file <vmlinux> -o {self._offset:#x}"
            return f"loaded after target remote, which gdb moves to the kernel only by {option}"
        return (
            f"not of this kernel: {_FUNCTION} is at {there:#x} here, at {self._told:#x} there;"
            " load the vmlinux of this dump, then target remote"
        )
