"""Notices that a debugger's symbols are not the dumped kernel's."""

from __future__ import annotations

from collections.abc import Sequence

from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# What VMCOREINFO tells of every kernel, and where hardly two of them agree.
_PROOFS = ("init_uts_ns", "node_online_map", "_stext")


class ClientSymbols:
    """Compares symbols of one client with VMCOREINFO; implements `ports.SymbolQuestions`."""

    def __init__(self, vmcoreinfo: Vmcoreinfo) -> None:
        told = {name: vmcoreinfo.symbol(name) for name in _PROOFS}
        self._told = {name: address for name, address in told.items() if address is not None}
        # `file VMLINUX -o OFFSET` has gdb look symbols up before it moves them.
        self._moved_by = vmcoreinfo.kaslr_offset or 0
        self._known: dict[str, int | None] = {}
        self._said: str | None = None

    @property
    def wanted(self) -> Sequence[str]:
        """See `SymbolQuestions.wanted`."""
        return tuple(self._told)

    def tell(self, name: str, address: int | None) -> str | None:
        """See `SymbolQuestions.tell`."""
        if name in self._told:
            self._known[name] = address
        problem = self.problem
        if problem == self._said:
            return None
        self._said = problem
        return problem

    @property
    def problem(self) -> str | None:
        """What is wrong with the client's symbols, None if nothing is known to be."""
        for name, address in self._known.items():
            told = self._told[name]
            if address is not None and address not in (told, told - self._moved_by):
                return (
                    f"the debugger's are not the dumped kernel's, or not where it runs: {name} is"
                    f" at {address:#x} there, at {told:#x} in the dump; load the dumped kernel's"
                    " vmlinux, as the server's lines say"
                )
        return None
