"""The architectures: one file of declarations each, found here by name.

gdb's own Python loads this package too, so it is written in the syntax of Python 3.6.
"""

from typing import Dict, Optional

from .aarch64 import AARCH64
from .arm import ARM
from .i386 import I386
from .loongarch64 import LOONGARCH64
from .model import Arch, Feature, Register, RegisterLayout, Slot
from .ppc64le import PPC64LE
from .riscv64 import RISCV64
from .s390x import S390X
from .x86_64 import X86_64

ARCHITECTURES: Dict[str, Arch] = {
    arch.name: arch for arch in (X86_64, AARCH64, RISCV64, PPC64LE, S390X, LOONGARCH64)
}

# What a 32-bit process is under a 64-bit kernel; no kernel of these can be opened.
COMPAT: Dict[str, Arch] = {arch.compat_of: arch for arch in (I386, ARM)}

_BY_ANY_NAME = {
    name: arch for arch in ARCHITECTURES.values() for name in (arch.name, *arch.aliases)
}


def arch_named(name: str) -> Optional[Arch]:
    """Return the architecture with a kernel's (`uname -m`) name, or another name for it."""
    return _BY_ANY_NAME.get(name)


__all__ = [
    "AARCH64",
    "ARCHITECTURES",
    "ARM",
    "COMPAT",
    "I386",
    "LOONGARCH64",
    "PPC64LE",
    "RISCV64",
    "S390X",
    "X86_64",
    "Arch",
    "Feature",
    "Register",
    "RegisterLayout",
    "Slot",
    "arch_named",
]
