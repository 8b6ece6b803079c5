"""Where things lie in the toy machine. Addresses are bytes; names say which address kind."""

from __future__ import annotations

PAGE = 0x1000
LARGE_PAGE = 0x200000
HUGE_PAGE = 0x40000000
THREAD_SIZE = 0x4000

RELEASE = "6.1.0-toy"
VERSION = "#1 SMP PREEMPT_DYNAMIC Tue Nov 14 22:13:20 UTC 2023"
CRASHTIME = 1700000000

# Virtual addresses as a randomised x86_64 kernel picks them (Documentation/arch/x86/x86_64/mm.rst).
KASLR_OFFSET = 0x9200000
START_KERNEL_MAP = 0xFFFFFFFF80000000
KERNEL_IMAGE_SIZE = 0x40000000
PAGE_OFFSET = 0xFFFF9B2CC0000000
VMALLOC_BASE = 0xFFFFB1D740000000
MODULES_VADDR = 0xFFFFFFFFC0000000

# Physical memory.
RAM_SIZE = 0x3000000
LOW_PAGE = 0x1000
KERNEL_PHYS = 0x1600000
TABLES_PHYS = 0x2400000
FRAMES_PHYS = 0x2800000
FRAMES = 32
ZERO_TAIL_PHYS = 0x2C00000
ZERO_TAIL_PAGES = 3  # the first one is in the file, the others are p_memsz only
EXCLUDED_PHYS = 0x2E00000
HIGH_RAM_PHYS = 0x40000000  # one 1 GiB page in the direct mapping
HIGH_PAGE = 0x5ABCD000

# Kernel stacks (guard page behind each) and the test area, all in the vmalloc area.
IDLE1_STACK = VMALLOC_BASE + 0x8000
INIT_STACK = VMALLOC_BASE + 0x10000
SHELL_STACK = VMALLOC_BASE + 0x2D4000
TEST_AREA = VMALLOC_BASE + 0x100000
TEST_AREA_PAGES = (0, 1, 3)  # page 2 is a hole
TEST_AREA_HOLE = TEST_AREA + 2 * PAGE
TEST_AREA_EXCLUDED = TEST_AREA + 4 * PAGE

MODULE_TEXT = b"toy_module: hello from module space\n\0"

CRASH_NOTES = 0x800  # per-CPU memory behind the linked variables: offset in each area

# The two processes.
INIT_CODE, INIT_USER_STACK, INIT_FSBASE = 0x401000, 0x7FFD3A91E000, 0x4C53C0
SHELL_CODE, SHELL_USER_STACK = 0x55D0C0DE1000, 0x7FFE1B2C4000
SHELL_FSBASE = 0x7F3C8A1B2740
USER_CODE_ENTRY = 0x120  # offset of the user's system call instruction in its code page
USER_SP_OFFSET = 0xE98  # offset of the user's stack pointer in its stack page
SYSRQ_BUFFER_OFFSET = 0xF00  # offset of the bytes "c\n" in the shell's stack page
NR_WRITE, NR_PAUSE = 1, 34


def direct(physical: int) -> int:
    """Kernel virtual address of a physical one in the direct mapping."""
    return PAGE_OFFSET + physical
