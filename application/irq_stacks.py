"""Lets debuggers unwind from a CPU's interrupt stack back to the stack it interrupted.

A C function that changes stacks in inline assembly leaves the compiler's call frame
information wrong: debuggers look for the rest of its frame just above the interrupt stack,
in a guard page that nothing is mapped to. There they are shown what lies above the stack
pointer that the kernel saved in the interrupt stack's topmost word. Source: the kernel's
arch/x86/include/asm/irq_stack.h (since 5.12) and arch/x86/kernel/irq_64.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from kdump_gdbserver.application.kernel_symbols import KernelSymbols
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault

_PAGE = 4096
_WORD = 8
_MAX_CPUS = 8192
# Where struct pcpu_hot (6.2 to 6.14, arch/x86/include/asm/current.h) has hardirq_stack_ptr,
# without and with CONFIG_MITIGATION_CALL_DEPTH_TRACKING, and hardirq_stack_inuse after it.
_HOT_POINTERS, _HOT_IN_USE = (0x18, 0x20), 10
# At most this many words of the function that changed stacks: six registers and locals.
_MAX_FRAME = 16
_PT_REGS_SIZE = 168
# Debuggers read the stack in lines of their caches.
_LINE = 64
_KERNEL_IMAGE = 0xFFFF_FFFF_8000_0000
_ERRORS = (1 << 64) - 4096  # above are small negative numbers


class ContinuedStacks(AddressSpace):
    """Kernel memory with something to read in pages that are not there.

    `pages` has bytes by page address. What can be read below is never hidden.
    """

    def __init__(self, below: AddressSpace, pages: Mapping[int, bytes]) -> None:
        self._below = below
        self._pages = pages

    def read(self, address: int, length: int) -> bytes:
        """See `AddressSpace.read`."""
        try:
            data = self._below.read(address, length)
        except MemoryFault:
            data = self._continued(address, length)
            if not data:
                raise
            return data
        if len(data) < length:
            data += self._continued(address + len(data), length - len(data))
        return data

    def _continued(self, address: int, length: int) -> bytes:
        at = address % _PAGE
        return self._pages.get(address - at, b"")[at : at + length]


def interrupted_stacks(
    memory: AddressSpace, symbols: KernelSymbols, arch: Arch
) -> dict[int, bytes]:
    """Return what to show in the guard pages, by page address; empty when there is nothing.

    Only for CPUs that take an interrupt on their interrupt stack: the frame that is
    continued must return to the entry code, which restores every register, for nothing
    would tell the one register that the topmost word hides.
    """
    if arch.name != "x86_64":
        return {}
    pages: dict[int, bytes] = {}
    for pointer in _stacks_in_use(memory, symbols, arch):
        try:
            pages[pointer + _WORD] = _continuation(memory, symbols, pointer)
        except (MemoryFault, LookupError):
            continue
    return {page: data for page, data in pages.items() if data and not _readable(memory, page)}


def _stacks_in_use(memory: AddressSpace, symbols: KernelSymbols, arch: Arch) -> Iterator[int]:
    """Yield the topmost word's address of each interrupt stack that is in use."""
    table = symbols.addresses.get("__per_cpu_offset")
    count = symbols.read_int("nr_cpu_ids")
    if table is None or count is None or not 0 < count <= _MAX_CPUS:
        return
    for cpu in range(count):
        try:
            base = memory.read_uint(table + _WORD * cpu, _WORD, arch.byte_order)
            for pointer_at, in_use_at in _variables(symbols):
                where = (base + pointer_at) & arch.pointer_mask
                pointer = memory.read_uint(where, _WORD, arch.byte_order)
                in_use = memory.read_exact((base + in_use_at) & arch.pointer_mask, 1)
                if in_use == b"\x01" and (pointer + _WORD) % _PAGE == 0:
                    yield pointer
                    break
        except MemoryFault:
            continue


def _variables(symbols: KernelSymbols) -> list[tuple[int, int]]:
    """Return where hardirq_stack_ptr and hardirq_stack_inuse may be in the per-CPU area."""
    addresses = symbols.addresses
    if "hardirq_stack_ptr" in addresses and "hardirq_stack_inuse" in addresses:
        return [(addresses["hardirq_stack_ptr"], addresses["hardirq_stack_inuse"])]
    if "pcpu_hot" in addresses:
        return [
            (addresses["pcpu_hot"] + at, addresses["pcpu_hot"] + at + _HOT_IN_USE)
            for at in _HOT_POINTERS
        ]
    return []


def _continuation(memory: AddressSpace, symbols: KernelSymbols, pointer: int) -> bytes:
    """Return what follows above the interrupt stack as if its frame had been pushed there."""
    low, high = symbols.addresses["__entry_text_start"], symbols.addresses["__entry_text_end"]
    (saved,) = struct.unpack("<Q", memory.read_exact(pointer, _WORD))
    words = struct.unpack(f"<{_MAX_FRAME}Q", memory.read_exact(saved, _MAX_FRAME * _WORD))
    for number, word in enumerate(words):
        if _KERNEL_IMAGE <= word < _ERRORS:
            if not low <= word < high:
                return b""
            size = _WORD * number + _PT_REGS_SIZE
            return memory.read(saved + _WORD, -(-size // _LINE) * _LINE)
    return b""


def _readable(memory: AddressSpace, address: int) -> bool:
    try:
        return bool(memory.read(address, 1))
    except MemoryFault:
        return False
