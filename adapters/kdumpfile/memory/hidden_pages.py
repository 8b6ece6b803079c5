"""Page-table entries that the hardware would not follow, though the page is in memory.

Linux clears the present bit of a page that is PROT_NONE, and on NUMA machines of any
page whose use it wants to notice (NUMA balancing). Sources: the kernel's
arch/x86/include/asm/pgtable-invert.h and pgtable_types.h (_PAGE_PROTNONE, inverted frame
numbers), arch/riscv/include/asm/pgtable-bits.h (_PAGE_PROT_NONE), and
arch/arm64/include/asm/pgtable-prot.h (PTE_PROT_NONE, since 6.10 PTE_PRESENT_INVALID).
"""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import Arch

_FRAME = 0x000F_FFFF_FFFF_F000
_X86_HUGE = 1 << 7
_X86_PROT_NONE = 1 << 8
_RISCV_PROT_NONE = 1 << 5
_RISCV_FRAME_BITS = 44
_ARM64_PROT_NONE = 1 << 58
_ARM64_PRESENT_INVALID = 1 << 11
_ARM64_FRAME = 0x0000_FFFF_FFFF_F000


def hidden_page(arch: Arch, entry: int, level: int) -> tuple[int, int] | None:
    """Return physical address and size (bytes) of the page behind an entry, None if no page.

    `entry` is not present and stands in a table of `level`: 1 is the lowest.
    """
    size = 1 << 12 + 9 * (level - 1)
    if arch.name == "x86_64":
        if not entry & _X86_PROT_NONE or (level > 1 and not entry & _X86_HUGE):
            return None
        return ~entry & _FRAME & -size, size
    if level > 1:
        return None
    if arch.name == "riscv64" and entry & _RISCV_PROT_NONE:
        return (entry >> 10 & (1 << _RISCV_FRAME_BITS) - 1) << 12, size
    if arch.name == "aarch64" and entry & _ARM64_PROT_NONE:
        return entry & _ARM64_FRAME, size
    return None


def may_be_swapped(arch: Arch, entry: int, level: int) -> bool:
    """Whether an entry that is not present can be a swap entry.

    Bit 11 tells hidden pages from swapped ones on arm64 since 6.10 and belongs to the
    swap offset before: then nothing is claimed.
    """
    if level != 1 or not entry:
        return False
    return arch.name != "aarch64" or not entry & _ARM64_PRESENT_INVALID
