"""Which architecture a dump is of, when its file does not say."""

from __future__ import annotations

from collections.abc import Collection

from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_PRSTATUS_SIZES = {arch.prstatus.size: arch for arch in ARCHITECTURES.values() if arch.prstatus}


def told(name: str | None) -> str | None:
    """Return a name of struct new_utsname; None for what QEMU writes when it knows none."""
    return None if name in ("", "Unknown") else name


def arch_of_vmcoreinfo(vmcoreinfo: Vmcoreinfo) -> Arch | None:
    """Tell the architecture by VMCOREINFO lines that only one kernel port writes."""
    found = [
        arch
        for arch in ARCHITECTURES.values()
        if any(mark in vmcoreinfo.lines for mark in arch.vmcoreinfo_marks)
    ]
    return found[0] if len(found) == 1 else None


def arch_of_prstatus(sizes: Collection[int]) -> Arch | None:
    """Tell the architecture by the size of the NT_PRSTATUS notes, when all agree."""
    found = {_PRSTATUS_SIZES.get(size) for size in sizes}
    return found.pop() if len(found) == 1 else None
