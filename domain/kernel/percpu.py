"""Per-CPU variables, and which CPUs there are."""

import struct
from typing import Any, Callable, Dict, List, Optional, Set

from .symbols import Symbols

MAX_CPUS = 8192  # the largest NR_CPUS of any architecture; damaged numbers may be larger

# Every kernel has it, and VMCOREINFO never does.
A_VARIABLE = "init_pid_ns"

# The symbols that PerCpu asks for.
SYMBOLS = (
    A_VARIABLE,
    "__cpu_active_mask",
    "__cpu_online_mask",
    "__cpu_possible_mask",
    "__per_cpu_offset",
    "nr_cpu_ids",
)


def per_cpu_base(
    symbol: int,
    start: Optional[int],
    offsets: Dict[int, int],
    is_right: Callable[[int, int], Optional[bool]],
) -> Optional[int]:
    """Return the base of a per-CPU variable, None if unknown.

    A CPU's copy is at base + offsets[cpu]. `symbol` and `start` are the variable and
    __per_cpu_start as the source of types has them, `offsets` maps a CPU to __per_cpu_offset[cpu],
    `is_right(cpu, address)` says whether that CPU's copy lies there, or returns None if the dump
    does not have the address.

    A kernel whose per-CPU section is part of its image (all but x86_64 before 6.15) just adds
    the offset to the symbol. Where the section is linked at 0 instead, the symbol must not be
    relocated by KASLR, but both `file vmlinux -o OFFSET` and the server's relocation do it; the
    section's start moves along, so the distance from it is right however the file was loaded.
    """
    tried = [symbol]
    if start is not None:
        tried.append(symbol - start)
    for base in tried:
        found = [is_right(cpu, (base + offset) % 2**64) for cpu, offset in offsets.items()]
        if True in found and False not in found:
            return base
    return None


def bits_set(data: bytes, byte_order: Any) -> List[int]:
    """Return the numbers of the bits set in a kernel bitmap (include/linux/bitmap.h)."""
    mark = "<" if byte_order == "little" else ">"
    words = struct.unpack("%s%dQ" % (mark, len(data) // 8), data)
    return [
        64 * index + bit
        for index, word in enumerate(words)
        if word
        for bit in range(64)
        if word >> bit & 1
    ]


class PerCpu:
    """Where each CPU has its own copies of variables, and the kernel's masks of CPUs."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self._offsets: Optional[Dict[int, int]] = None

    @property
    def offsets(self) -> Dict[int, int]:
        """{possible CPU: its __per_cpu_offset}, {} if the dump does not say; Unreadable.

        A kernel for one CPU has no such array, but neither has a source of types that lacks the
        kernel's variables, so a missing array proves nothing.
        """
        if self._offsets is None:
            self._offsets = self._read_offsets()
        return self._offsets

    def _read_offsets(self) -> Dict[int, int]:
        table = self.symbols.find("__per_cpu_offset")
        if table is None:
            return {} if self.symbols.find(A_VARIABLE) is None else {0: 0}
        possible = self.mask("__cpu_possible_mask")
        if possible is None:
            possible = list(range(self._count() or 0))
        if not possible:
            return {}
        words = self.symbols.memory.words(table, max(possible) + 1)
        return {cpu: words[cpu] for cpu in possible}

    def _count(self) -> Optional[int]:
        """One more than the highest CPU number there can be, None if unknown."""
        count = self.symbols.variable("nr_cpu_ids", 4)
        if not count:
            count = 8 * (self.symbols.types.size("struct cpumask") or 0)
        return count if 0 < count <= MAX_CPUS else None

    def mask(self, name: str) -> Optional[List[int]]:
        """Return the CPUs in a struct cpumask, None if there is none of that name; Unreadable."""
        address, count = self.symbols.find(name), self._count()
        if address is None or count is None:
            return None
        data = self.symbols.memory.fetch(address, (count + 63) // 64 * 8)
        return [cpu for cpu in bits_set(data, self.symbols.memory.byte_order) if cpu < count]

    def in_use(self) -> Set[int]:
        """Return the CPUs in use before the crash, none if the dump does not say; Unreadable.

        A panic takes the other CPUs out of the online mask as it stops them (stop_this_cpu() in
        arch/x86/kernel/process.c), but not out of the active mask, as unplugging a CPU does.
        """
        masks = [self.mask(name) for name in ("__cpu_online_mask", "__cpu_active_mask")]
        return set().union(*(mask for mask in masks if mask))

    def address(self, variable: int, cpu: int) -> int:
        """Return where a CPU's copy of a variable is; KeyError for an impossible CPU."""
        return (variable + self.offsets[cpu]) % 2**64
