"""The architectures: one file of declarations each, found here by name."""

from __future__ import annotations

from kdump_gdbserver.domain.arch.aarch64 import AARCH64
from kdump_gdbserver.domain.arch.model import Arch, Feature, Register, RegisterLayout, Slot
from kdump_gdbserver.domain.arch.riscv64 import RISCV64
from kdump_gdbserver.domain.arch.x86_64 import X86_64

ARCHITECTURES: dict[str, Arch] = {arch.name: arch for arch in (X86_64, AARCH64, RISCV64)}

__all__ = [
    "AARCH64",
    "ARCHITECTURES",
    "RISCV64",
    "X86_64",
    "Arch",
    "Feature",
    "Register",
    "RegisterLayout",
    "Slot",
]
