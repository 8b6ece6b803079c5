"""What has to be known of x86_64."""

import re
from typing import Any, Dict, Optional, Tuple

from ..symbols import Symbols
from ..tasks import Task
from .architecture import Architecture
from .page_tables import PageTables
from .vectors import XSAVE_AVX_END, xsave_registers


class X86_64(Architecture):  # noqa: N801  (its name)
    """x86_64: a task that was switched out has its registers on its kernel stack."""

    name = "x86_64"
    gdb_name = "i386:x86-64"
    saved = {"saved.sp": "thread.sp"}
    # arch/x86/include/asm/switch_to.h: which of them exist, and in what order, depends on the
    # kernel's version and configuration; never assume more than the names.
    frame = "struct inactive_task_frame"
    frame_registers = {
        "bx": "rbx",
        "bp": "rbp",
        "r12": "r12",
        "r13": "r13",
        "r14": "r14",
        "r15": "r15",
        "ret_addr": "rip",
    }

    # arch/x86/include/asm/ptrace.h; the stack's end may be kept free of them by as much as
    # TOP_OF_KERNEL_STACK_PADDING (arch/x86/include/asm/thread_info.h): 16 bytes with FRED.
    user_frame = {
        **{"r%d" % n: "r%d" % n for n in range(8, 16)},
        **{name: "r" + name for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
        "orig_ax": "orig_rax",
        "ip": "rip",
        "flags": "eflags",
        "cs": "cs",
        "ss": "ss",
    }
    stack_padding = (0, 16)
    user_thread = {
        "ds": "thread.ds",
        "es": "thread.es",
        "fs": "thread.fsindex",
        "gs": "thread.gsindex",
        "fs_base": "thread.fsbase",
        "gs_base": "thread.gsbase",
        "tls": "thread.tls_array",
        "cr2": "thread.cr2",
        "trap_nr": "thread.trap_nr",
    }
    KEPT = ("ds", "es", "fs", "gs", "fs_base", "gs_base")
    kept_in_kernel = ("ds", "es", "fs", "gs", "fs_base")
    only64 = tuple("r%d" % n for n in range(8, 16))
    TLS_SEGMENTS = (12, 13, 14)  # GDT_ENTRY_TLS_MIN to _MAX, arch/x86/include/asm/segment.h
    narrow = {"eflags": 32, "cs": 16, "ss": 16, "ds": 16, "es": 16, "fs": 16, "gs": 16}
    USER_CS, USER32_CS = 0x33, 0x23  # arch/x86/include/asm/segment.h
    PAGE_FAULT = 14  # X86_TRAP_PF

    def __init__(self, kernel: Symbols) -> None:
        super().__init__(kernel)
        self.layout = kernel.layout(self.frame, optional=self.frame_registers)

    def switch_registers(self, task: Task) -> Dict[str, int]:
        """Return what the scheduler saved: the registers a called function must preserve.

        thread.sp points at the frame, whose last word is the return address; so the stack
        pointer as of that address is behind the whole frame.
        """
        sp = task.values["saved.sp"]
        values = self.layout.read(self.memory, sp)
        names = self.frame_registers.items()
        registers = {name: values[member] for member, name in names if member in values}
        registers["rsp"] = sp + self.layout.size
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """Whether these are registers of user mode: its code segments, and a user stack."""
        return values["cs"] & 0xFFFF in (self.USER_CS, self.USER32_CS) and values["ss"] & 3 == 3

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """See Architecture.is_user_mode()."""
        return registers.get("cs", 0) & 3 == 3

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        """Whether it is an i386 process; an x32 one has 32-bit pointers, but all registers."""
        return auxv_is_32 and registers.get("cs") == self.USER32_CS

    def compat_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Those that 32-bit code has, by the names the kernel keeps them under."""
        return {name: value for name, value in registers.items() if name not in self.only64}

    def compat_fp_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Without the vector registers that only 64-bit code has."""
        gone = re.compile(r"[xy]mm([89]|1\d)")
        return {name: value for name, value in registers.items() if not gone.match(name)}

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        """The segments and their bases, from thread_struct.

        Where a selector names one of the thread's own segments, as those of 32-bit programs do,
        the segment has the base; without FSGSBASE thread_struct then says 0 (x86_fsbase_read_task()
        in arch/x86/kernel/process_64.c).
        """
        registers = {name: thread[name] for name in self.KEPT if name in thread}
        segments = self.memory.split(thread.get("tls", b""))
        for name in ("fs", "gs"):
            number = registers.get(name, 0) >> 3
            if number in self.TLS_SEGMENTS and segments:
                registers[name + "_base"] = self.segment_base(segments[number - 12])
        return registers

    @staticmethod
    def segment_base(descriptor: int) -> int:
        """Intel SDM volume 3, "Segment Descriptors"."""
        return descriptor >> 16 & 0xFFFFFF | (descriptor >> 56) << 24

    def fault_address(self, thread: Dict[str, Any]) -> Optional[int]:
        """The address of the last page fault that became a signal."""
        return thread["cr2"] if thread.get("trap_nr") == self.PAGE_FAULT else None

    def fp_registers(self, task: Task) -> Dict[str, int]:
        """x87, SSE and AVX registers of a task that is not running, {} if the kernel has none."""
        address, size, features = self._fpu_state(task)
        if address is None:
            return {}
        return xsave_registers(self.memory.fetch(address, min(size, XSAVE_AVX_END)), features)

    def _fpu_state(self, task: Task) -> Tuple[int, int, int]:
        """(address, size, feature bits) of the task's XSAVE or FXSAVE area.

        struct fpu has it inside at first, by a pointer since 5.16, and is itself no longer in
        task_struct but behind it since 6.16 (arch/x86/include/asm/fpu/types.h, processor.h).
        """
        inside = self.kernel.member("struct task_struct", "thread.fpu")
        fpu = task.address + (inside.offset if inside else self.kernel.size("struct task_struct"))
        pointer = self.kernel.member("struct fpu", "fpstate")
        if pointer is None:
            state = self.kernel.require_member("struct fpu", "state")
            features = self.kernel.variable("xfeatures_mask") or self.kernel.variable(
                "xfeatures_mask_all"
            )
            return fpu + state.offset, state.size, features or 0
        layout = self.kernel.layout("struct fpstate", ["size", "xfeatures"])
        regs = self.kernel.require_member("struct fpstate", "regs")
        address = self.memory.pointer(fpu + pointer.offset)
        values = layout.read(self.memory, address)
        return address + regs.offset, values["size"], values["xfeatures"]

    def page_tables(self, pgd: int) -> Optional[PageTables]:
        """Intel SDM volume 3, "4-Level Paging and 5-Level Paging".

        With page-table isolation mm->pgd maps user addresses too.
        """
        direct = self.kernel.variable("page_offset_base")
        if direct is None:
            return None  # a kernel without KASLR of its memory; not worth more tables here
        hidden = self.kernel.variable("sme_me_mask") or 0  # the encryption bit is no address
        address_bits = (1 << 52) - (1 << 12) & ~hidden

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if not entry & 1:
                return None
            is_page = shift == 12 or (shift < 39 and bool(entry & 1 << 7))
            return is_page, entry & address_bits

        shifts = [39, 30, 21, 12]
        if self.kernel.variable("__pgtable_l5_enabled", 4):
            shifts.insert(0, 48)
        return PageTables(self.memory, direct, shifts, decode)
