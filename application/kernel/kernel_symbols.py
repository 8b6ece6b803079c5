"""Symbols and types of the dumped kernel: a source of types for domain/kernel."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Collection

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.errors import Unreadable
from kdump_gdbserver.domain.kernel.memory import Memory
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.symbol_file import SymbolFile

# Symbols of every kernel that both VMCOREINFO and vmlinux have.
_PROOFS = ("_stext", "init_uts_ns")
_BANNER = b"Linux version "


def kernel_memory(space: AddressSpace, arch: Arch) -> Memory:
    """Return kernel memory as domain/kernel reads it."""

    def fetch(address: int, size: int) -> bytes:
        try:
            return space.read_exact(address, size)
        except MemoryFault:
            raise Unreadable(address, size) from None

    return Memory(fetch, arch.byte_order, arch.pointer_size, arch.clean_pointer)


class KernelSymbols(Types):
    """Symbols and types of the dump itself and, where it lacks them, of its vmlinux.

    `symbol_file` is read only where it is needed, since that takes long, and believed only if it is
    the dumped kernel's. Names are looked up when they are wanted. Many take little more time than
    one, and those in `first` take no more than the first.
    """

    def __init__(
        self,
        memory: AddressSpace,
        vmcoreinfo: Vmcoreinfo,
        arch: Arch,
        symbol_file: SymbolFile | None = None,
        first: Collection[str] = (),
    ) -> None:
        # Loaded when symbols are wanted, after the server listens.
        from kdump_gdbserver.domain.symbols.dump_types import DumpTypes

        self._memory = memory
        self._vmcoreinfo = vmcoreinfo
        self._symbol_file = symbol_file
        self._dump = DumpTypes(memory, vmcoreinfo, arch, first)

    @property
    def source(self) -> str:
        """Say in words where symbols and types are from; reads them."""
        if self._symbol_file is None:
            return self._dump.source
        if self._dump.has_variables and self._dump.btf is not None:
            return self._dump.source
        if self._vmlinux is None:
            path = self._symbol_file.path
            return f"{self._dump.source}; {path} is not proved to be the dumped kernel"
        return f"{self._dump.source}; the rest from {self._symbol_file.path}"

    def symbol(self, name: str) -> int | None:
        """See `Types.symbol`; None also for a name that stands for several addresses."""
        return self.symbols((name,)).get(name)

    def symbols(self, names: Collection[str]) -> dict[str, int]:
        """Return the run-time addresses of those symbols that there are."""
        found: dict[str, int] = {}
        if not self._dump.has_variables and self._vmlinux is not None:
            at = {name: self._vmlinux.symbol(name) for name in names}
            found = {name: address for name, address in at.items() if address is not None}
        return self._dump.symbols([name for name in names if name not in found]) | found

    def next_symbol(self, address: int) -> int | None:
        """Return the first address above one that has a symbol in kallsyms, None without it."""
        kallsyms = self._dump.kallsyms
        if kallsyms is None:
            return None
        number = bisect_right(kallsyms.addresses, address)
        return next(iter(kallsyms.addresses[number : number + 1]), None)

    def size(self, type_name: str) -> int | None:
        """See `Types.size`."""
        types = self._types
        return types.size(type_name) if types else None

    def member(self, type_name: str, path: str) -> Member | None:
        """See `Types.member`."""
        types = self._types
        return types.member(type_name, path) if types else None

    @property
    def _types(self) -> Types | None:
        return self._vmlinux if self._dump.btf is None else self._dump

    @functools.cached_property
    def _vmlinux(self) -> Types | None:
        """The symbol file's symbols and types, None unless it is proved to be this kernel's."""
        file, info = self._symbol_file, self._vmcoreinfo
        if file is None or (file.build_id and info.build_id and file.build_id != info.build_id):
            return None
        types = file.types(info.kaslr_offset or 0)
        told = {name: info.symbol(name) for name in _PROOFS}
        agree = {
            types.symbol(name) == address for name, address in told.items() if address is not None
        }
        return types if agree == {True} or (not agree and self._has_banner(types)) else None

    def _has_banner(self, types: Types) -> bool:
        banner = types.symbol("linux_banner")
        try:
            return banner is not None and self._memory.read(banner, len(_BANNER)) == _BANNER
        except MemoryFault:
            return False
