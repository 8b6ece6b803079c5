"""What has to be known of s390x."""

from typing import Any, Dict, Optional, Tuple

from ..tasks import Task
from .architecture import Architecture
from .page_tables import PageTables


class S390x(Architecture):
    """s390x: a switched-out task's registers are where its functions saved them, by the ABI."""

    name = "s390x"
    gdb_name = "s390:64-bit"
    saved = {"saved.sp": "thread.ksp"}
    FIRST_SAVED = 6  # struct stack_frame has r6 to r15 (arch/s390/include/asm/stacktrace.h)
    # arch/s390/include/asm/ptrace.h
    user_frame = {"psw.mask": "pswm", "psw.addr": "pswa", "gprs": "r", "orig_gpr2": "orig_r2"}
    user_thread = {"acrs": "thread.acrs"}
    PROBLEM_STATE = 1 << 48  # of the PSW's mask
    INVALID, LARGE, PAGE_INVALID, TYPE = 0x20, 0x400, 0x400, 0xC
    SHIFTS = [53, 42, 31, 20, 12]  # arch/s390/include/asm/pgtable.h

    def switch_registers(self, task: Task) -> Dict[str, int]:
        """See Architecture.switch_registers(); the return address is r14."""
        frame = self.kernel.layout("struct stack_frame", ["gprs"])
        values = self.memory.split(frame.read(self.memory, task.values["saved.sp"])["gprs"])
        registers = {"r%d" % (self.FIRST_SAVED + n): value for n, value in enumerate(values)}
        registers["pswa"] = registers["r14"]
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """See Architecture.is_user_frame()."""
        return bool(values["psw.mask"] & self.PROBLEM_STATE)

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """See Architecture.is_user_mode()."""
        return bool(registers.get("pswm", 0) & self.PROBLEM_STATE)

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        """Access registers; the first two hold the thread pointer."""
        raw, order = thread.get("acrs", b""), self.memory.byte_order
        words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
        return {"acr%d" % n: int.from_bytes(word, order) for n, word in enumerate(words)}

    def page_tables(self, pgd: int) -> Optional[PageTables]:
        """Principles of Operation, "Dynamic Address Translation".

        How many tables a process has grows with it; each entry tells which level it is in.
        """
        level = self.memory.integer(pgd, 8) >> 2 & 3

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if shift == 12:
                return None if entry & self.PAGE_INVALID else (True, entry & -(1 << 12))
            if entry & self.INVALID:
                return None
            if entry & self.LARGE and shift <= 31:
                return True, entry & -(1 << shift)
            return False, entry & -(1 << (11 if shift == 20 else 12))

        return PageTables(self.memory, 0, self.SHIFTS[3 - level :], decode, bits=11)
