"""The dump itself as a source of types: the kernel's symbol table and its BTF."""

from __future__ import annotations

import functools
from collections.abc import Collection

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.btf_types import MAX_BTF, BtfTypes, find_btf
from kdump_gdbserver.domain.symbols.first_task import find_init_task
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms
from kdump_gdbserver.domain.symbols.kallsyms_search import (
    SEARCH_SPAN,
    anchors_of,
    find_kallsyms,
)
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# On arm64 `_stext` is that far above `_text` at most (SEGMENT_ALIGN of its vmlinux.lds.S).
_HEAD_SIZE = 64 << 10
_PAGE = 4096


class DumpTypes(Types):
    """Symbols by kallsyms and types by BTF, out of the kernel's memory.

    Each is read when first asked for. Whatever cannot be read or proved is unknown; `problems` says
    why.
    """

    def __init__(
        self,
        memory: AddressSpace,
        vmcoreinfo: Vmcoreinfo,
        byte_order: ByteOrder,
        pointer_size: int = 8,
    ) -> None:
        self._memory = memory
        self._vmcoreinfo = vmcoreinfo
        self._byte_order: ByteOrder = byte_order
        self._pointer_size = pointer_size
        self.problems: list[str] = []

    @functools.cached_property
    def kallsyms(self) -> Kallsyms | None:
        """The kernel's symbols, None when there are none to be believed."""
        try:
            if self._pointer_size != 8:
                raise ValueError("kallsyms: only 64-bit kernels are known")
            return find_kallsyms(self._memory, self._vmcoreinfo, self._byte_order)
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

    def _read_btf(self) -> Btf:
        marks = ("__start_BTF", "__stop_BTF", "_etext", "_sinittext")
        found = self.kallsyms.find(marks) if self.kallsyms else {}
        at = {name: places[0] for name, places in found.items() if len(places) == 1}
        if "__start_BTF" in at and "__stop_BTF" in at:
            start, size = at["__start_BTF"], at["__stop_BTF"] - at["__start_BTF"]
            if not 0 < size <= MAX_BTF:
                raise ValueError(f"BTF: its size is said to be {size}")
            return Btf.parse(self._memory.read_exact(start, size), self._byte_order)
        # Where only functions have symbols: the read-only data follows the text.
        begin = at.get("_etext", self._vmcoreinfo.symbol("_stext"))
        if begin is None:
            raise ValueError("BTF: VMCOREINFO does not tell where the kernel is")
        end = min(at.get("_sinittext", begin + SEARCH_SPAN), begin + SEARCH_SPAN)
        return find_btf(self._memory, self._byte_order, begin, end)[1]

    @functools.cached_property
    def _types(self) -> BtfTypes | None:
        return None if self.btf is None else BtfTypes(self.btf, self._pointer_size)

    @functools.cached_property
    def _told(self) -> dict[str, int]:
        """What VMCOREINFO tells, for kernels whose functions alone are in kallsyms."""
        told = anchors_of(self._vmcoreinfo)
        text = text_start(self._vmcoreinfo)
        return told if text is None else {"_text": text} | told

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
                if address is None and name == "init_task":
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


def text_start(info: Vmcoreinfo) -> int | None:
    """Return `_text` where VMCOREINFO tells it in a roundabout way: arm64, riscv64.

    The kernel is linked at the end of the modules' area, and moved by KERNELOFFSET. It is
    believed only when `_stext` is where the head of the kernel would end, at most 64 KiB
    above: two facts that come from different places in the kernel.
    """
    end, stext = info.number("MODULES_END"), info.symbol("_stext")
    if end is None or stext is None:
        return None
    text = end + (info.kaslr_offset or 0)
    head = stext - text
    return text if 0 < head <= _HEAD_SIZE and head % _PAGE == 0 else None
