"""A process's address space: libkdumpfile with another root page table."""

from __future__ import annotations

from kdump_gdbserver.adapters.kdumpfile.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.bindings import CLONE_XLAT, KVADDR
from kdump_gdbserver.adapters.kdumpfile.context import Context
from kdump_gdbserver.adapters.kdumpfile.memory import KdumpAddressSpace
from kdump_gdbserver.domain.arch.model import Arch


def process_space(context: Context, arch: Arch, root_table: int) -> KdumpAddressSpace:
    """Return the space below the page table at physical address `root_table`."""
    clone = context.clone(CLONE_XLAT)
    Attributes(clone)
    return KdumpAddressSpace(clone, KVADDR)
