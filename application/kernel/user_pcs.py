"""Where user programs were when x86_64 CPUs and tasks entered the kernel, from their stacks.

What the CPU pushes then (Intel SDM volume 3, 6.14.2) is found by its form: ip, cs, flags, sp, ss,
with the two selectors of user mode. A word too many does no harm: only a frame whose pc is the
same one uses it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault

_STACK = 1 << 14  # THREAD_SIZE and IRQ_STACK_SIZE without KASAN
_MOST = 2 * _STACK  # with it
_TOP = (
    256  # bytes in which the registers of user mode are: struct pt_regs, with FRED two words more
)
# __USER32_CS, __USER_CS, __USER_DS (arch/x86/include/asm/segment.h); FRED has flags above bit 15.
_CODE, _DATA, _SELECTOR = (0x23, 0x33), 0x2B, 0xFFFF
_USER_END = 1 << 56
_KERNEL = 1 << 63
_WORDS = struct.Struct("<5Q")


def interrupted_pcs(
    memory: AddressSpace, running: Iterable[int], sleeping: Iterable[int]
) -> Iterator[int]:
    """Yield the pcs of user mode on the stacks above the stack pointers, some more than once.

    `running` are CPUs', which may be on a stack of their own: it ends in a word that leads to the
    task's. `sleeping` are tasks': of these the end alone is looked at.
    """
    for pointer in running:
        stack = _up(memory, pointer)
        yield from _frames(stack)
        if len(stack) >= 8:
            yield from _frames(_up(memory, int.from_bytes(stack[-8:], "little")))
    for pointer in sleeping:
        if pointer >= _KERNEL:
            for size in (_STACK, _MOST):
                end = pointer // size * size + size
                yield from _frames(_read(memory, max(pointer & -8, end - _TOP), end))


def _up(memory: AddressSpace, pointer: int) -> bytes:
    """Return the stack from a pointer to where it ends: behind it nothing is mapped."""
    if pointer < _KERNEL:
        return b""
    end = pointer // _STACK * _STACK + _STACK
    return _read(memory, pointer & -8, end)


def _read(memory: AddressSpace, start: int, end: int) -> bytes:
    try:
        return memory.read(start, end - start)
    except (MemoryFault, ValueError):
        return b""


def _frames(stack: bytes) -> Iterator[int]:
    selector = _DATA.to_bytes(2, "little")
    at = stack.find(selector)
    while at >= 0:
        start = at + 8 - _WORDS.size
        if at % 8 == 0 and start >= 0 and at + 8 <= len(stack):
            pc, code, _, sp, _ = _WORDS.unpack_from(stack, start)
            if code & _SELECTOR in _CODE and 0 < pc < _USER_END and sp < _USER_END:
                yield pc
        at = stack.find(selector, at + 1)
