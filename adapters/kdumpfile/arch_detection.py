"""Which architecture a dump is of, when its file does not say."""

from __future__ import annotations

from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo


def arch_of_vmcoreinfo(vmcoreinfo: Vmcoreinfo) -> Arch | None:
    """Tell the architecture by VMCOREINFO lines that only one kernel port writes."""
    found = [
        arch
        for arch in ARCHITECTURES.values()
        if any(mark in vmcoreinfo.lines for mark in arch.vmcoreinfo_marks)
    ]
    return found[0] if len(found) == 1 else None
