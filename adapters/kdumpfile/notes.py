"""The CPUs' registers from libkdumpfile, for dumps whose notes only it can read."""

from __future__ import annotations

from collections.abc import Iterator

from kdump_gdbserver.adapters.kdumpfile.library.attributes import Attributes
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.dump_facts import CpuNote


def read_cpu_notes(attributes: Attributes, arch: Arch) -> Iterator[CpuNote]:
    """Yield a note per CPU, in the order of the file."""
    for index in range(attributes.number("cpu.number") or 0):
        yield CpuNote(
            index=index,
            pid=attributes.number(f"cpu.{index}.pid"),
            registers=_registers(attributes, index, arch),
        )


def _registers(attributes: Attributes, index: int, arch: Arch) -> dict[str, int]:
    """Return the registers that gdb knows, cut to their width in gdb's layout.

    libkdumpfile gives segment registers and pstate the 64 bits of their slot in
    elf_prstatus; what the architecture defines of them fits the narrower register.
    """
    slots = arch.layout().by_name
    registers: dict[str, int] = {}
    for name, value in attributes.items(f"cpu.{index}.reg"):
        slot = slots.get(arch.gdb_register(name))
        if slot is not None and isinstance(value, int):
            registers[slot.register.name] = value & ((1 << slot.register.bits) - 1)
    return registers
