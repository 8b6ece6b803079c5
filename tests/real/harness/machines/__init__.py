"""The machines that the harness can boot: one file each, with all that is special about it."""

from __future__ import annotations

from ..errors import HarnessError
from .aarch64 import AARCH64
from .base import Compiler, KernelSource, Machine, Scenario
from .ppc64le import PPC64LE
from .riscv64 import RISCV64
from .s390x import S390X
from .x86_64 import X86_64

MACHINES: dict[str, Machine] = {
    machine.name: machine for machine in (X86_64, AARCH64, RISCV64, S390X, PPC64LE)
}


def machine(name: str) -> Machine:
    """The machine of architecture `name`; HarnessError for one that the harness does not know."""
    if name not in MACHINES:
        raise HarnessError(f"unknown architecture {name!r}: known are {', '.join(MACHINES)}")
    return MACHINES[name]


__all__ = ["MACHINES", "X86_64", "Compiler", "KernelSource", "Machine", "Scenario", "machine"]
