"""Which CPU panicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.domain.kernel.errors import Unreadable
from kdump_gdbserver.domain.kernel.symbols import Symbols

# The kernel keeps the CPU's number in the first (kernel/panic.c, since 4.5) and, on x86, in
# the second; -1 stands for none.
SYMBOLS = ("panic_cpu", "crashing_cpu")


@dataclass(frozen=True, slots=True)
class PanicCpu:
    """The CPU to show first, by its place in the list, and how it was found."""

    index: int
    reason: str


def find_panic_cpu(cpus: Sequence[Cpu], kernel: Symbols) -> PanicCpu:
    """Return the CPU that panicked, by the kernel's own variables.

    If they do not tell, it is the first CPU that was not idle: panic() was called by a running
    task.
    """
    by_number = {cpu.number: index for index, cpu in enumerate(cpus)}
    for name in SYMBOLS:
        try:
            number = kernel.variable(name, 4)
        except Unreadable:
            continue
        if number is not None and number in by_number:
            return PanicCpu(by_number[number], name)
    for index, cpu in enumerate(cpus):
        if cpu.pid:
            return PanicCpu(index, "first CPU that was not idle")
    return PanicCpu(0, "first CPU")
