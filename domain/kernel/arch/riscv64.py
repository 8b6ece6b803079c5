"""What has to be known of riscv64."""

from typing import Any, Dict, Optional, Tuple

from ..errors import KdumpError
from ..memory import USER_END
from ..notes import note_number
from ..tasks import Task
from .architecture import Architecture
from .page_tables import PageTables


class Riscv64(Architecture):
    """riscv64: struct thread_struct holds a switched-out task's registers itself."""

    name = "riscv64"
    gdb_name = "riscv:rv64"
    # arch/riscv/include/asm/processor.h; s[0] is the frame pointer, which gdb calls fp.
    saved = {"saved.ra": "thread.ra", "saved.sp": "thread.sp", "saved.s": "thread.s"}
    s_names = ["fp"] + ["s%d" % n for n in range(1, 12)]
    # arch/riscv/include/asm/ptrace.h; task_pt_regs() rounds their size up to 16 bytes.
    user_frame = {
        **{name: name for name in ("ra", "sp", "gp", "tp")},
        **{"a%d" % n: "a%d" % n for n in range(8)},
        **{"t%d" % n: "t%d" % n for n in range(7)},
        **{"s%d" % n: name for n, name in enumerate(s_names)},
        "epc": "pc",
    }
    stack_align = 16
    FS_BITS = 0x6000  # SR_FS of arch/riscv/include/asm/csr.h; 0: no floating-point unit in use

    def switch_registers(self, task: Task) -> Dict[str, int]:
        """See Architecture.switch_registers()."""
        raw = task.values["saved.s"]
        registers = {
            name: int.from_bytes(raw[8 * n : 8 * n + 8], self.memory.byte_order)
            for n, name in enumerate(self.s_names)
        }
        registers["pc"] = task.values["saved.ra"]
        registers["sp"] = task.values["saved.sp"]
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """See Architecture.is_user_frame()."""
        return bool(0 < values["epc"] < USER_END)

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """See Architecture.is_user_mode()."""
        return registers.get("pc", USER_END) < USER_END

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        """See Architecture.is_compat()."""
        if auxv_is_32:
            raise KdumpError("32-bit RISC-V processes are not supported")
        return False

    def fp_registers(self, task: Task) -> Dict[str, int]:
        """f0 to f31 and fcsr, which the kernel saves when it switches to another task."""
        frame = self.kernel.layout("struct pt_regs", ("status",))
        size = (frame.size + self.stack_align - 1) // self.stack_align * self.stack_align
        at = task.stack + self.kernel.stack_size() - size
        if not frame.read(self.memory, at)["status"] & self.FS_BITS:
            return {}
        layout = self.kernel.layout("struct task_struct", ("thread.fstate.f", "thread.fstate.fcsr"))
        values = layout.read(self.memory, task.address)
        floats = self.memory.split(values["thread.fstate.f"])
        registers = {"f%d" % n: value for n, value in enumerate(floats)}
        fcsr = values["thread.fstate.fcsr"]
        # RISC-V unprivileged architecture, "Floating-Point Control and Status Register".
        return dict(registers, fcsr=fcsr, fflags=fcsr & 0x1F, frm=fcsr >> 5 & 7)

    def page_tables(self, pgd: int) -> Optional[PageTables]:
        """RISC-V privileged architecture, "Sv39" and its larger kin."""
        notes = self.kernel.vmcoreinfo()
        va_bits, ram = note_number(notes, "VA_BITS"), note_number(notes, "phys_ram_base")
        page_offset = note_number(notes, "PAGE_OFFSET")
        if va_bits is None or ram is None or page_offset is None:
            return None

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if not entry & 1:
                return None
            return bool(entry & 0xE), (entry >> 10 & (1 << 44) - 1) << 12

        shifts = list(reversed(range(12, va_bits, 9)))
        return PageTables(self.kernel.memory, page_offset - ram, shifts, decode)
