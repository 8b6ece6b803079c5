"""What has to be known of ppc64le."""

from typing import Any, Dict, Optional, Tuple

from ..tasks import Task
from .architecture import Architecture
from .page_tables import PageTables


class Ppc64le(Architecture):
    """ppc64le: a switched-out task has its registers at the end of its topmost frame."""

    name = "ppc64le"
    gdb_name = "powerpc:common64"
    saved = {"saved.sp": "thread.ksp"}
    # _switch() in arch/powerpc/kernel/entry_64.S makes a frame that ends in a struct pt_regs, and
    # puts its return address, the condition register and what a call must preserve there.
    frame_registers = {
        "nip": "pc",
        "ccr": "cr",
    }
    PRESERVED = range(14, 32)
    # arch/powerpc/include/asm/ptrace.h
    user_frame = {
        "gpr": "r",
        "nip": "pc",
        "msr": "msr",
        "orig_gpr3": "orig_r3",
        "ctr": "ctr",
        "link": "lr",
        "xer": "xer",
        "ccr": "cr",
        "trap": "trap",
    }
    narrow = {"cr": 32, "xer": 32}
    PROBLEM_STATE = 1 << 14  # MSR[PR]

    def switch_registers(self, task: Task) -> Dict[str, int]:
        """See Architecture.switch_registers()."""
        sp = task.values["saved.sp"]
        outer = self.memory.pointer(sp)
        layout = self.kernel.layout("struct pt_regs", ["gpr", *self.frame_registers])
        values = layout.read(self.memory, outer - layout.size)
        general = self.memory.split(values["gpr"])
        registers = {"r%d" % n: general[n] for n in self.PRESERVED}
        registers.update((name, values[member]) for member, name in self.frame_registers.items())
        registers["r1"] = outer
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """See Architecture.is_user_frame()."""
        return bool(values["msr"] & self.PROBLEM_STATE)

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """See Architecture.is_user_mode()."""
        return bool(registers.get("msr", 0) & self.PROBLEM_STATE)

    def page_tables(self, pgd: int) -> Optional[PageTables]:
        """Radix tables: arch/powerpc/include/asm/book3s/64/radix.h; entries are big-endian."""
        size = self.kernel.vmcoreinfo().page_size
        if size not in (4096, 65536):
            return None
        shifts = [39, 30, 21, 12] if size == 4096 else [39, 30, 21, 16]

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            entry = int.from_bytes(entry.to_bytes(8, "little"), "big")
            if not entry >> 63:
                return None
            if entry >> 62 & 1:
                return True, entry & 0x01FFFFFFFFFFF000
            return False, entry & 0x0FFFFFFFFFFFFF00

        return PageTables(self.memory, 0xC << 60, shifts, decode, bits=13)
