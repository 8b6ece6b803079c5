"""The kernel's own unwind tables for x86_64, and what they say of a frame."""

import struct
from typing import Dict, Optional, Tuple

from .errors import KdumpError
from .memory import Memory


class Orc:
    """The kernel's own unwind tables for x86_64 (CONFIG_UNWINDER_ORC).

    One has a 32-bit offset for each row, counted from where it stands to the first address that
    the row is for; the other has the rows. Source: arch/x86/include/asm/orc_types.h,
    arch/x86/kernel/unwind_orc.c.
    """

    NAMES = ("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind")
    FUNCTION = "unwind_next_frame"  # is in every kernel that has tables
    ROW = struct.Struct("<hhH")  # sp_offset, bp_offset, flags
    # Where the value of sp_reg (bits 0-3 of the flags) or bp_reg (4-7) is counted from.
    UNCHANGED, PREV_SP, BP, SP, SP_INDIRECT = 0, 1, 4, 5, 9
    # What lies there (bits 8 on): a return address just below it, or a struct pt_regs. The first
    # is 0, since 6.4 2; until then no row for SP_INDIRECT had 2. The second is 1, in 6.3 with a
    # bit that says so, since 6.4 3 with such a bit.
    CALL = (0, 2)
    REGS = (1, 5, 3, 11)

    def __init__(self, memory: Memory, start_ip: int, stop_ip: int, rows: int) -> None:
        self.memory = memory
        self.ips = start_ip
        self.count = (stop_ip - start_ip) // 4
        self.rows = rows

    def row(self, pc: int) -> Tuple[int, int, int]:
        """(sp_offset, bp_offset, flags) for an address; Unreadable."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = self.ips + 4 * middle
            (offset,) = struct.unpack("<i", self.memory.fetch(at, 4))
            if at + offset <= pc:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            raise KdumpError("no unwind data for 0x%x" % pc)
        return self.ROW.unpack(self.memory.fetch(self.rows + self.ROW.size * (low - 1), 6))

    def caller(self, pc: int, sp: int, bp: Optional[int]) -> Optional[Dict[str, int]]:
        """The caller's registers, for a function that put its stack pointer where `sp` points.

        None for a function that did not. What is not in the result is unknown, and so may be
        `bp`. KdumpError.
        """
        sp_offset, bp_offset, flags = self.row(pc)
        if flags & 0xF != self.SP_INDIRECT or flags >> 8 not in self.CALL:
            return None
        top = self.memory.integer(sp, 8) + sp_offset
        found = {"rsp": top, "rip": self.memory.integer(top - 8, 8)}
        base = flags >> 4 & 0xF
        if base == self.PREV_SP:
            found["rbp"] = self.memory.integer(top + bp_offset, 8)
        elif base == self.UNCHANGED and bp is not None:
            found["rbp"] = bp
        elif base == self.BP and bp is not None:
            found["rbp"] = self.memory.integer(bp + bp_offset, 8)
        return found

    def saved(self, pc: int) -> Optional[int]:
        """How far above the stack pointer entry code, which returns to `pc`, has a pt_regs."""
        sp_offset, _, flags = self.row(pc - 1)
        return sp_offset if flags & 0xF == self.SP and flags >> 8 in self.REGS else None
