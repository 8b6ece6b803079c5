"""Symbols and types of the dumped kernel, out of the dump: a source of types for domain/kernel."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.errors import Unreadable
from kdump_gdbserver.domain.kernel.memory import Memory
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# What reads symbols and types is loaded when they are first read, after the server listens.
if TYPE_CHECKING:
    from kdump_gdbserver.domain.symbols.btf_types import BtfTypes
    from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms

_BTF = ("__start_BTF", "__stop_BTF")
# Every kernel has it. If kallsyms does not, functions are all that it has (CONFIG_KALLSYMS_ALL).
_A_VARIABLE = "init_task"
# Looked up together with the first names that are asked for.
_FIRST = (_A_VARIABLE, *_BTF)

# Takes names, returns the run-time addresses of those that it knows.
LookUp = Callable[[tuple[str, ...]], Mapping[str, int]]


def kernel_memory(space: AddressSpace, arch: Arch) -> Memory:
    """Return kernel memory as domain/kernel reads it."""
    from kdump_gdbserver.domain.kernel.arch import BY_NAME

    def fetch(address: int, size: int) -> bytes:
        try:
            return space.read_exact(address, size)
        except MemoryFault:
            raise Unreadable(address, size) from None

    known = BY_NAME.get(arch.name)
    return Memory(fetch, arch.byte_order, arch.pointer_size, known.clean if known else None)


class KernelSymbols(Types):
    """Symbols by kallsyms, those that kallsyms lacks by the symbol file, and types by BTF.

    `symbol_file` is asked only where there is no kallsyms, or one with functions alone, since
    reading such a file takes seconds. A name is looked up when it is first wanted; `look_up`
    takes many names in little more time than one. `addresses` has them as a mapping, which
    tells only of names that it is asked for.
    """

    def __init__(
        self,
        memory: AddressSpace,
        vmcoreinfo: Vmcoreinfo,
        arch: Arch,
        symbol_file: LookUp | None = None,
    ) -> None:
        from kdump_gdbserver.domain.symbols.kallsyms_search import find_kallsyms

        self._memory = memory
        self._arch = arch
        self._known: dict[str, int | None] = {}
        self._types: BtfTypes | None = None
        self._kallsyms: Kallsyms | None = None
        with contextlib.suppress(MemoryFault, ValueError):
            self._kallsyms = find_kallsyms(memory, vmcoreinfo, arch.byte_order)
        self._symbol_file = symbol_file
        self.addresses: Mapping[str, int] = _Addresses(self)

    @property
    def source(self) -> str:
        """Where symbols are from, in words."""
        if self._kallsyms is None:
            return "symbol file" if self._symbol_file else "none"
        self.symbol(_A_VARIABLE)
        return "kallsyms and symbol file" if self._symbol_file else "kallsyms"

    def symbol(self, name: str) -> int | None:
        """See `Types.symbol`; None also for a name that stands for several addresses."""
        return self.look_up((name,)).get(name)

    def look_up(self, names: Iterable[str]) -> dict[str, int]:
        """Return the run-time addresses of those symbols that there are."""
        names = tuple(names)
        unknown = tuple(name for name in (*names, *_FIRST) if name not in self._known)
        if unknown:
            self._known.update(dict.fromkeys(unknown))
            by_kallsyms = self._from_kallsyms(unknown)
            self._known.update(by_kallsyms)
            if _A_VARIABLE in by_kallsyms:
                self._symbol_file = None  # kallsyms has all that there is
        unknown = tuple(name for name in unknown if self._known[name] is None)
        if unknown and self._symbol_file is not None:
            self._known.update(self._symbol_file(unknown))
        found = ((name, self._known[name]) for name in names)
        return {name: address for name, address in found if address is not None}

    def next_symbol(self, address: int) -> int | None:
        """Return the first address above one that has a symbol in kallsyms, None without it."""
        if self._kallsyms is None:
            return None
        number = bisect_right(self._kallsyms.addresses, address)
        return next(iter(self._kallsyms.addresses[number : number + 1]), None)

    def _from_kallsyms(self, names: tuple[str, ...]) -> Mapping[str, int]:
        if self._kallsyms is None:
            return {}
        found = self._kallsyms.find(names)
        return {name: places[0] for name, places in found.items() if len(places) == 1}

    def size(self, type_name: str) -> int | None:
        """See `Types.size`."""
        types = self._btf()
        return types.size(type_name) if types else None

    def member(self, type_name: str, path: str) -> Member | None:
        """See `Types.member`."""
        types = self._btf()
        return types.member(type_name, path) if types else None

    def _btf(self) -> BtfTypes | None:
        """Return the types, read when the first one is wanted; None when there are none."""
        if self._types is None:
            from kdump_gdbserver.domain.symbols.btf import Btf
            from kdump_gdbserver.domain.symbols.btf_types import MAX_BTF, BtfTypes

            place = self.look_up(_BTF)
            try:
                start, stop = place[_BTF[0]], place[_BTF[1]]
                blob = self._memory.read_exact(start, min(max(stop - start, 0), MAX_BTF))
                btf = Btf.parse(blob, self._arch.byte_order)
            except (MemoryFault, KeyError, ValueError):
                return None
            self._types = BtfTypes(btf, self._arch.pointer_size)
        return self._types


class _Addresses(Mapping[str, int]):
    """A `KernelSymbols` as a mapping; iterating over it gives the names found so far."""

    def __init__(self, symbols: KernelSymbols) -> None:
        self._symbols = symbols

    def __getitem__(self, name: str) -> int:
        address = self._symbols.symbol(name)
        if address is None:
            raise KeyError(name)
        return address

    def __iter__(self) -> Iterator[str]:
        known = self._symbols._known.items()
        return iter([name for name, address in known if address is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))
