"""What has to be known of aarch64."""

from typing import Any, Dict, Optional, Tuple

from ..memory import USER_END
from ..symbols import Symbols
from ..tasks import Task
from .architecture import Architecture
from .page_tables import PageTables


class Aarch64(Architecture):
    """aarch64: thread.cpu_context holds a switched-out task's registers."""

    name = "aarch64"
    gdb_name = "aarch64"
    # arch/arm64/include/asm/processor.h: struct cpu_context; gdb calls fp x29.
    context = dict({"x%d" % n: "x%d" % n for n in range(19, 29)}, fp="x29", sp="sp", pc="pc")
    saved = {"saved." + name: "thread.cpu_context." + name for name in context}

    # arch/arm64/include/asm/ptrace.h
    user_frame = {"regs": "x", "sp": "sp", "pc": "pc", "pstate": "cpsr"}
    user_thread = {"tpidr": "thread.uw.tp_value", "fault": "thread.fault_address"}
    narrow = {"cpsr": 32}
    EL_MASK, AARCH32 = 0xF, 0x10  # of pstate: the exception level (0: user), 32-bit mode
    FP_STATE_SVE = 2  # enum fp_type, arch/arm64/include/asm/processor.h

    def __init__(self, kernel: Symbols) -> None:
        super().__init__(kernel)
        self.code_mark = self.code_bits(kernel.address("_stext"))

    @staticmethod
    def clean(address: int) -> int:
        """Return it without the tag that the address's top byte may carry (KASAN, MTE)."""
        return address | 0xFF << 56 if address >> 55 & 1 else address

    @staticmethod
    def code_bits(stext: int) -> int:
        """Return the bits that all kernel code addresses have set.

        They are those above the first zero of _stext.
        """
        return 2**64 - (1 << (~stext % 2**64).bit_length())

    def code_address(self, address: int) -> int:
        """Return it without the authentication code an address may carry in its high bits.

        Bit 55 tells kernel from user addresses and is never part of the code (Arm ARM, "Pointer
        authentication").
        """
        return address | self.code_mark if address >> 55 & 1 else address

    def switch_registers(self, task: Task) -> Dict[str, int]:
        """See Architecture.switch_registers()."""
        registers = {name: task.values["saved." + member] for member, name in self.context.items()}
        registers["pc"] = self.code_address(registers["pc"])
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """See Architecture.is_user_frame()."""
        return bool(values["pstate"] & self.EL_MASK == 0 and values["pc"] < USER_END)

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """See Architecture.is_user_mode()."""
        return registers.get("cpsr", 5) & self.EL_MASK == 0

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        """See Architecture.thread_registers()."""
        return {"tpidr": thread["tpidr"]} if "tpidr" in thread else {}

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        """See Architecture.is_compat()."""
        return bool(registers.get("cpsr", 0) & self.AARCH32)  # the server renames (D1.20.1)

    def fault_address(self, thread: Dict[str, Any]) -> Optional[int]:
        """See Architecture.fault_address()."""
        return thread.get("fault") or None

    def page_tables(self, pgd: int) -> Optional[PageTables]:
        """Arm ARM, "VMSAv8-64 translation table format descriptors".

        The direct mapping begins at the bottom of the kernel's addresses, before 5.4 in their
        middle (arch/arm64/include/asm/memory.h); the table itself is in it and tells. A kernel
        made for more bits than its CPU has takes the difference off the start of memory.
        """
        info = self.kernel.vmcoreinfo()
        va_bits, phys_offset = info.number("VA_BITS"), info.number("PHYS_OFFSET")
        if va_bits is None or phys_offset is None or not info.page_size:
            return None
        page_shift = info.page_size.bit_length() - 1
        used_bits = 64 - (info.number("TCR_EL1_T1SZ") or 64 - va_bits)
        half = va_bits - (used_bits == va_bits and pgd >> va_bits - 1 & 1)
        direct = (2**64 - (1 << half) - phys_offset) % 2**64
        address_bits = (1 << 48) - (1 << page_shift)

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if not entry & 1 or (shift == page_shift and not entry & 2):
                return None
            is_page = shift == page_shift or not entry & 2
            return is_page, entry & address_bits

        step = page_shift - 3
        shifts = range(page_shift, used_bits, step)
        return PageTables(self.kernel.memory, direct, list(reversed(shifts)), decode, step)

    def fp_registers(self, task: Task) -> Dict[str, int]:
        """The FPSIMD registers; where SVE's are in use, their low 128 bits."""
        memory, type_ = self.kernel.memory, "struct task_struct"
        state = self.kernel.member(type_, "thread.uw.fpsimd_state.vregs")
        if state is None:
            return {}
        data = memory.fetch(task.address + state.offset, 32 * 16 + 8)
        stride, vectors = 16, data
        fp_type = self.kernel.member(type_, "thread.fp_type")
        if fp_type and memory.integer(task.address + fp_type.offset, 4) == self.FP_STATE_SVE:
            layout = self.kernel.layout(type_, (), ("thread.sve_state", "thread.vl"))
            values = layout.read(memory, task.address)
            stride = int.from_bytes(values["thread.vl"][:4], memory.byte_order)
            vectors = memory.fetch(values["thread.sve_state"], 32 * stride)
        registers = {
            "v%d" % n: int.from_bytes(vectors[n * stride : n * stride + 16], memory.byte_order)
            for n in range(32)
        }
        registers["fpsr"] = int.from_bytes(data[512:516], memory.byte_order)
        registers["fpcr"] = int.from_bytes(data[516:520], memory.byte_order)
        return registers
