"""Which architecture a dump is of, when its file does not say."""

from __future__ import annotations

from collections.abc import Collection

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_PRSTATUS_SIZES = {
    (arch.byte_order, arch.prstatus.size): arch for arch in ARCHITECTURES.values() if arch.prstatus
}


def told(name: str | None) -> str | None:
    """Return a name of struct new_utsname; None for what QEMU writes when it knows none."""
    return None if name in ("", "Unknown") else name


def arch_of_vmcoreinfo(vmcoreinfo: Vmcoreinfo, byte_order: ByteOrder) -> Arch | None:
    """Tell the architecture by VMCOREINFO lines that only one kernel port writes.

    Ports of both byte orders write the same, so it must be that of the file.
    """
    found = [
        arch
        for arch in ARCHITECTURES.values()
        if arch.byte_order == byte_order
        and any(mark in vmcoreinfo.lines for mark in arch.vmcoreinfo_marks)
    ]
    return found[0] if len(found) == 1 else None


def arch_of_prstatus(sizes: Collection[int], byte_order: ByteOrder) -> Arch | None:
    """Tell the architecture by the size of the NT_PRSTATUS notes, when all agree."""
    found = {_PRSTATUS_SIZES.get((byte_order, size)) for size in sizes}
    return found.pop() if len(found) == 1 else None
