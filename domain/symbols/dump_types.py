"""The dump itself as a source of types: the kernel's symbol table and its BTF."""

from __future__ import annotations

import functools
from collections.abc import Collection

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.btf_types import MAX_BTF, BtfTypes, find_btf, read_btf
from kdump_gdbserver.domain.symbols.first_task import find_init_task
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms
from kdump_gdbserver.domain.symbols.kallsyms_search import (
    SEARCH_SPAN,
    anchors_of,
    find_kallsyms,
)
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# Where BTF is, and the text and what is behind the read-only data.
_MARKS = ("__start_BTF", "__stop_BTF", "_etext", "_sinittext")
# Every kernel has it. If kallsyms does not, functions are all that it has (without
# CONFIG_KALLSYMS_ALL).
_A_VARIABLE = "init_task"


class DumpTypes(Types):
    """Symbols by kallsyms and types by BTF, out of the kernel's memory.

    Each is read when first asked for. What cannot be read or proved is not known; why, is
    in `problems`. `first` are names that will be asked for: they are looked up together with
    what proves kallsyms, which takes no longer.
    """

    def __init__(
        self,
        memory: AddressSpace,
        vmcoreinfo: Vmcoreinfo,
        arch: Arch,
        first: Collection[str] = (),
    ) -> None:
        self._memory = memory
        self._vmcoreinfo = vmcoreinfo
        self._arch = arch
        self._byte_order = arch.byte_order
        self._first = (*first, *_MARKS, _A_VARIABLE)
        self.problems: list[str] = []

    @functools.cached_property
    def kallsyms(self) -> Kallsyms | None:
        """The kernel's symbols, None when there are none to be believed."""
        try:
            if self._arch.pointer_size != 8:
                raise ValueError("kallsyms: only 64-bit kernels are known")
            return find_kallsyms(self._memory, self._vmcoreinfo, self._byte_order, self._first)
        except ValueError as error:
            self.problems.append(str(error))
            return None

    @functools.cached_property
    def btf(self) -> Btf | None:
        """The kernel's type information, None when there is none to be believed."""
        try:
            return self._read_btf()
        except (ValueError, MemoryFault) as error:
            reason = str(error)
            self.problems.append(reason if reason.startswith("BTF") else f"BTF: {reason}")
            return None

    @functools.cached_property
    def has_variables(self) -> bool:
        """Whether kallsyms has variables beside functions (CONFIG_KALLSYMS_ALL)."""
        return self.kallsyms is not None and _A_VARIABLE in self.kallsyms.find((_A_VARIABLE,))

    def _read_btf(self) -> Btf:
        found = self.kallsyms.find(_MARKS) if self.kallsyms else {}
        at = {name: places[0] for name, places in found.items() if len(places) == 1}
        if "__start_BTF" in at and "__stop_BTF" in at:
            start, size = at["__start_BTF"], at["__stop_BTF"] - at["__start_BTF"]
            if not 0 < size <= MAX_BTF:
                raise ValueError(f"BTF: its size is said to be {size}")
            return read_btf(self._memory, self._byte_order, start, size)
        # Where only functions have symbols: the read-only data follows the text.
        begin = at.get("_etext", self._vmcoreinfo.symbol("_stext"))
        if begin is None:
            raise ValueError("BTF: VMCOREINFO does not tell where the kernel is")
        end = min(at.get("_sinittext", begin + SEARCH_SPAN), begin + SEARCH_SPAN)
        return find_btf(self._memory, self._byte_order, begin, end)[1]

    @functools.cached_property
    def _types(self) -> BtfTypes | None:
        return None if self.btf is None else BtfTypes(self.btf, self._arch.pointer_size)

    @functools.cached_property
    def _told(self) -> dict[str, int]:
        """What VMCOREINFO tells, for kernels whose functions alone are in kallsyms."""
        told, arch = anchors_of(self._vmcoreinfo), self._arch
        text = arch.first_segment and arch.first_segment(self._vmcoreinfo, self._memory)
        return told if text is None else {arch.first_symbol: text} | told

    @property
    def source(self) -> str:
        """Say in words where symbols and types are from; reads them."""
        parts = [
            f"symbols from the dump's kallsyms ({len(self.kallsyms):,})"
            if self.kallsyms
            else "symbols from VMCOREINFO only",
            f"types from its BTF ({len(self.btf):,})" if self.btf else "no types",
        ]
        return "; ".join([", ".join(parts), *self.problems])

    @functools.cached_property
    def _init_task(self) -> int | None:
        """Where `init_task` is by its looks, for kernels whose functions alone have symbols."""
        start = self._vmcoreinfo.symbol("_stext")
        if start is None:
            return None
        return find_init_task(self._memory, self, self._byte_order, start, start + SEARCH_SPAN)

    def symbol(self, name: str) -> int | None:
        """See `Types.symbol`; None for an ambiguous name too.

        VMCOREINFO may have what kallsyms lacks; last, `init_task` is searched for.
        """
        return self.symbols((name,)).get(name)

    def symbols(self, names: Collection[str]) -> dict[str, int]:
        """Return the addresses of those `names` that exist; quicker than one by one."""
        found = self.kallsyms.find(names) if self.kallsyms else {}
        addresses = {name: at[0] for name, at in found.items() if len(at) == 1}
        for name in names:
            if name not in found:
                address = self._told.get(name)
                if address is None and name == _A_VARIABLE:
                    address = self._init_task
                if address is not None:
                    addresses[name] = address
        return addresses

    def size(self, type_name: str) -> int | None:
        """See `Types.size`."""
        return self._types.size(type_name) if self._types else None

    def member(self, type_name: str, path: str) -> Member | None:
        """See `Types.member`."""
        return self._types.member(type_name, path) if self._types else None
