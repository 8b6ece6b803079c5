"""The architectures: one file of declarations each, found here by name."""

from __future__ import annotations

from kdump_gdbserver.domain.arch.aarch64 import AARCH64
from kdump_gdbserver.domain.arch.arm import ARM
from kdump_gdbserver.domain.arch.i386 import I386
from kdump_gdbserver.domain.arch.model import Arch, Feature, Register, RegisterLayout, Slot
from kdump_gdbserver.domain.arch.riscv64 import RISCV64
from kdump_gdbserver.domain.arch.x86_64 import X86_64

ARCHITECTURES: dict[str, Arch] = {arch.name: arch for arch in (X86_64, AARCH64, RISCV64)}

# What a 32-bit process is under a 64-bit kernel; no kernel of these can be opened.
COMPAT: dict[str, Arch] = {X86_64.name: I386, AARCH64.name: ARM}

__all__ = [
    "AARCH64",
    "ARCHITECTURES",
    "ARM",
    "COMPAT",
    "I386",
    "RISCV64",
    "X86_64",
    "Arch",
    "Feature",
    "Register",
    "RegisterLayout",
    "Slot",
]
