"""x86_64: all that is special about it.

Sources: GDB manual, "i386 Features"; DWARF numbers from the System V AMD64 psABI, section "DWARF
Register Number Mapping"; page tables from Intel SDM volume 3, 4.5, and what Linux makes of them
from arch/x86/include/asm/pgtable_types.h.
"""

import re
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ..address_space import AddressSpace
from ..vmcoreinfo import Vmcoreinfo
from .model import (
    Arch,
    Feature,
    Flags,
    NoteLayout,
    Process,
    Register,
    Union,
    Vdso,
    Vector,
    named_bits,
    prstatus,
)
from .paging import (
    NOWHERE,
    SWAPPED,
    Decoded,
    EntryKind,
    KernelTables,
    Paging,
    TableForm,
    at_physical,
)
from .task_state import TaskState, UserTables
from .xsave import XSAVE_AVX_END, xsave_registers

EFLAGS = Flags(
    "i386_eflags",
    4,
    (
        ("", 1),
        *named_bits(
            "CF:0 PF:2 AF:4 ZF:6 SF:7 TF:8 IF:9 DF:10 OF:11 NT:14 RF:16 VM:17 AC:18 VIF:19 VIP:20 "
            "ID:21"
        ),
    ),
)
MXCSR = Flags(
    "i386_mxcsr",
    4,
    named_bits("IE:0 DE:1 ZE:2 OE:3 UE:4 PE:5 DAZ:6 IM:7 DM:8 ZM:9 OM:10 UM:11 PM:12 FZ:15"),
)
VECTOR_TYPES = (
    Vector("v4f", "ieee_single", 4),
    Vector("v2d", "ieee_double", 2),
    Vector("v16i8", "int8", 16),
    Vector("v8i16", "int16", 8),
    Vector("v4i32", "int32", 4),
    Vector("v2i64", "int64", 2),
    Union(
        "vec128",
        (
            ("v4_float", "v4f"),
            ("v2_double", "v2d"),
            ("v16_int8", "v16i8"),
            ("v8_int16", "v8i16"),
            ("v4_int32", "v4i32"),
            ("v2_int64", "v2i64"),
            ("uint128", "uint128"),
        ),
    ),
)

_DWARF = {
    name: number
    for number, name in enumerate(
        "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()
    )
}
_ROLES = {
    "rip": "pc",
    "rsp": "sp",
    "rbp": "fp",
    "eflags": "flags",
    "rdi": "arg1",
    "rsi": "arg2",
    "rdx": "arg3",
    "rcx": "arg4",
    "r8": "arg5",
    "r9": "arg6",
}
_POINTERS = {"rbp": "data_ptr", "rsp": "data_ptr", "rip": "code_ptr"}

GENERAL = tuple(
    Register(name, 64, _POINTERS.get(name, "int64"), dwarf=_DWARF[name], role=_ROLES.get(name))
    for name in "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()
)
SEGMENTS = tuple(Register(name, 32, "int32") for name in ("cs", "ss", "ds", "es", "fs", "gs"))
X87 = (
    *(Register(f"st{i}", 80, "i387_ext", dwarf=33 + i) for i in range(8)),
    *(
        Register(name, 32, "int", group="float")
        for name in ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
    ),
)

CORE = Feature(
    "org.gnu.gdb.i386.core",
    (*GENERAL, Register("eflags", 32, "i386_eflags", role="flags"), *SEGMENTS, *X87),
    (EFLAGS,),
)
LINUX = Feature("org.gnu.gdb.i386.linux", (Register("orig_rax", 64, "int64", group="system"),))
BASES = Feature(
    "org.gnu.gdb.i386.segments",
    (Register("fs_base", 64, "int"), Register("gs_base", 64, "int")),
)
SSE = Feature(
    "org.gnu.gdb.i386.sse",
    (
        *(Register(f"xmm{i}", 128, "vec128", dwarf=17 + i) for i in range(16)),
        Register("mxcsr", 32, "i386_mxcsr", group="vector"),
    ),
    (*VECTOR_TYPES, MXCSR),
)
AVX = Feature(
    "org.gnu.gdb.i386.avx",
    tuple(Register(f"ymm{i}h", 128, "uint128") for i in range(16)),
)
# Names and flags are those of QEMU's own stub (gdb-xml/i386-64bit.xml); the bits are in Intel SDM
# volume 3, 2.5 "Control Registers".
CR0 = Flags(
    "x64_cr0",
    8,
    named_bits("PE:0 MP:1 EM:2 TS:3 ET:4 NE:5 WP:16 AM:18 NW:29 CD:30 PG:31"),
)
CR4 = Flags(
    "x64_cr4",
    8,
    named_bits(
        "VME:0 PVI:1 TSD:2 DE:3 PSE:4 PAE:5 MCE:6 PGE:7 PCE:8 OSFXSR:9 OSXMMEXCPT:10 UMIP:11 "
        "LA57:12 VMXE:13 SMXE:14 FSGSBASE:16 PCIDE:17 OSXSAVE:18 SMEP:20 SMAP:21 PKE:22 "
        "CET:23 PKS:24"
    ),
)
CONTROL = Feature(
    "org.qemu.gdb.i386.control",
    (
        Register("k_gs_base", 64, "int", group="system"),
        Register("cr0", 64, "x64_cr0", group="system"),
        Register("cr2", 64, "int", group="system"),
        Register("cr3", 64, "int", group="system"),
        Register("cr4", 64, "x64_cr4", group="system"),
    ),
    (CR0, CR4),
)

# elf_gregset_t is struct user_regs_struct (arch/x86/include/asm/user_64.h).
PRSTATUS = prstatus(
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
    "fs_base gs_base ds es fs gs"
)
# struct QEMUCPUState of QEMU's target/i386/arch_dump.c: version and size, 18 registers, ten
# segments of 24 bytes, cr0 to cr4, kernel_gs_base.
_CONTROL_AT = 8 + 18 * 8 + 10 * 24
QEMU_NOTE = NoteLayout(
    _CONTROL_AT + 6 * 8,
    (
        *((f"cr{i}", _CONTROL_AT + 8 * i, 8) for i in (0, 2, 3, 4)),
        ("k_gs_base", _CONTROL_AT + 40, 8),
    ),
)

_PRESENT, _WRITE, _HUGE, _NO_EXECUTE = 1 << 0, 1 << 1, 1 << 7, 1 << 63
_PROT_NONE = 1 << 8  # _PAGE_PROTNONE, the global bit of entries that are not present
_FRAME = 0x000F_FFFF_FFFF_F000
_KERNEL_MAP = 0xFFFFFFFF80000000  # __START_KERNEL_map, arch/x86/include/asm/page_64_types.h
_LA57 = 1 << 12  # of cr4: five levels


def table_form(levels: int, hidden_bits: int = 0) -> TableForm:
    """Return the form of page tables of 4 or 5 levels.

    `hidden_bits` is AMD's memory encryption mask (sme_me_mask), which is part of entries and of
    no address.
    """
    frame = _FRAME & ~hidden_bits

    def decode(entry: int, level: int) -> Decoded:
        size = 1 << 12 + 9 * (level - 1)
        may_be_page = level == 1 or (level <= 3 and entry & _HUGE)
        if entry & _PRESENT:
            if may_be_page:
                return EntryKind.PAGE, entry & frame & -size, size
            return NOWHERE if entry & _HUGE else (EntryKind.TABLE, entry & frame, 0)
        if entry & _PROT_NONE and may_be_page:
            # Linux clears the present bit for PROT_NONE and NUMA balancing, and inverts the
            # frame number (arch/x86/include/asm/pgtable-invert.h).
            return EntryKind.HIDDEN, ~entry & frame & -size, size
        return SWAPPED if entry and level == 1 else NOWHERE

    return TableForm(12, (9,) * levels, decode, run_mask=frame | _PRESENT, run_step=1 << 12)


def _form(page_size: int, bits: int) -> TableForm:
    return table_form((bits - 12) // 9)


def _find_tables(info: Vmcoreinfo, memory: AddressSpace) -> Optional[KernelTables]:
    top = info.symbol("init_top_pgt") or info.symbol("init_level4_pgt")  # before 4.14
    top = top or info.symbol("swapper_pg_dir")
    phys_base = info.number("phys_base")
    if top is None or phys_base is None or top < _KERNEL_MAP:
        return None
    root = at_physical(top - _KERNEL_MAP + phys_base, 52, 4096)
    levels = 5 if info.number("pgtable_l5_enabled") else 4
    form = table_form(levels, (info.number("sme_mask") or 0) & _FRAME)
    return None if root is None else KernelTables(form, root, top)


def _tables_of_cpu(control: Mapping[str, int]) -> Optional[KernelTables]:
    # The low 12 bits are flags or a process-context identifier.
    top, features = control.get("cr3"), control.get("cr4")
    if not top or features is None:
        return None
    return KernelTables(table_form(5 if features & _LA57 else 4), top & _FRAME)


def _permissions(address: int, entries: Sequence[int]) -> str:
    # With page-table isolation the kernel's own tables have all of a process's memory as not
    # executable, by the entries of the top one alone (arch/x86/mm/pti.c).
    executed = entries if address >> 63 else entries[1:]
    write = all(entry & _WRITE for entry in entries)
    execute = not any(entry & _NO_EXECUTE for entry in executed)
    return "r" + "w" * write + "x" * execute


def _first_segment(info: Vmcoreinfo, memory: AddressSpace) -> Optional[int]:
    return info.symbol("_stext")  # where _text is, too (arch/x86/kernel/vmlinux.lds.S)


def _is_user_mode(registers: Mapping[str, int]) -> bool:
    return registers.get("cs", 0) & 3 == 3  # the privilege level


class _TaskState(TaskState):
    """x86_64: a task that was switched out has its registers on its kernel stack."""

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

    def switch_registers(self, task: Mapping[str, Any]) -> Dict[str, int]:
        """Return what the scheduler saved: the registers a called function must preserve.

        thread.sp points at the frame, whose last word is the return address; so at that address the
        stack pointer is above the whole frame.
        """
        sp = task["saved.sp"]
        layout = self.kernel.layout(self.frame, optional=self.frame_registers)
        values = layout.read(self.memory, sp)
        names = self.frame_registers.items()
        registers = {name: values[member] for member, name in names if member in values}
        registers["rsp"] = sp + layout.size
        return registers

    def is_user_frame(self, values: Mapping[str, Any]) -> bool:
        """Whether these are registers of user mode: its code segments, and a user stack."""
        return values["cs"] & 0xFFFF in (self.USER_CS, self.USER32_CS) and values["ss"] & 3 == 3

    def is_compat(self, registers: Mapping[str, int], auxv_is_32: bool) -> bool:
        """Whether it is an i386 process; an x32 one has 32-bit pointers, but all registers."""
        return auxv_is_32 and registers.get("cs") == self.USER32_CS

    def compat_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Those that 32-bit code has, by the names the kernel keeps them under."""
        return {name: value for name, value in registers.items() if name not in self.only64}

    def compat_fp_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Without the vector registers that only 64-bit code has."""
        gone = re.compile(r"[xy]mm([89]|1\d)")
        return {name: value for name, value in registers.items() if not gone.match(name)}

    def thread_registers(self, thread: Mapping[str, Any]) -> Dict[str, int]:
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

    def fault_address(self, thread: Mapping[str, Any]) -> Optional[int]:
        """The address of the last page fault that became a signal."""
        return thread["cr2"] if thread.get("trap_nr") == self.PAGE_FAULT else None

    def fp_registers(self, task: int) -> Dict[str, int]:
        """x87, SSE and AVX registers of a task that is not running, {} if the kernel has none."""
        address, size, features = self._fpu_state(task)
        if address is None:
            return {}
        return xsave_registers(self.memory.fetch(address, min(size, XSAVE_AVX_END)), features)

    def _fpu_state(self, task: int) -> Tuple[int, int, int]:
        """(address, size, feature bits) of the task's XSAVE or FXSAVE area.

        struct fpu has it inside at first, by a pointer since 5.16, and since 6.16 struct fpu itself
        follows task_struct instead of being in it (arch/x86/include/asm/fpu/types.h, processor.h).
        """
        inside = self.kernel.member("struct task_struct", "thread.fpu")
        fpu = task + (inside.offset if inside else self.kernel.size("struct task_struct"))
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

    def user_tables(self, pgd: int) -> Optional[UserTables]:
        """See TaskState.user_tables().

        With page-table isolation mm->pgd maps user addresses too.
        """
        direct = self.kernel.variable("page_offset_base")
        if direct is None:
            return None  # a kernel without KASLR of its memory; not worth more tables here
        levels = 5 if self.kernel.variable("__pgtable_l5_enabled", 4) else 4
        hidden = self.kernel.variable("sme_me_mask") or 0
        return UserTables(table_form(levels, hidden & _FRAME), direct)


X86_64 = Arch(
    name="x86_64",
    gdb_name="i386:x86-64",
    pointer_size=8,
    # With SSE even if nobody has values: `gcore` of gdb 13 to 18 aborts gdb without it.
    features=(CORE, LINUX, BASES, SSE),
    optional={"avx": AVX, "control": CONTROL},
    extends={"avx": "sse"},
    aliases=("amd64",),
    pc="rip",
    sp="rsp",
    elf_machine=62,
    dump_names={"rflags": "eflags", "orig_ax": "orig_rax"},
    vmcoreinfo_marks=("SYMBOL(init_top_pgt)", "NUMBER(pgtable_l5_enabled)"),
    triple="x86_64-unknown-linux-gnu",
    kdumpfile_name="x86_64",
    paging=Paging(_find_tables, _form, _permissions, of_cpu=_tables_of_cpu, page_size=4096),
    prstatus=PRSTATUS,
    qemu_note=QEMU_NOTE,
    image_base=_KERNEL_MAP,  # LOAD_OFFSET in arch/x86/kernel/vmlinux.lds.S
    first_segment=_first_segment,
    has_orc=True,
    # Not canonical with four or with five levels of page tables. The bytes spell "kdump".
    spare_address=0x6B64_756D_7000_0000,
    # After r15 to r12, rbx and rbp, in some kernels after the flags too
    # (arch/x86/include/asm/switch_to.h).
    return_address_at=(48, 56),
    process=Process(
        thread_pointer="fs_base",
        tls_below=True,
        is_user_mode=_is_user_mode,
        zero_if_unknown=("fs_base", "gs_base"),
        vdso=Vdso(image="vdso_image_64"),
    ),
    task_state=_TaskState,
    # Bit 7 is PAT in the lowest table and "page size" above.
    entry_flags=(
        ("present", 0),
        ("write", 1),
        ("user", 2),
        ("write-through", 3),
        ("no-cache", 4),
        ("accessed", 5),
        ("dirty", 6),
        ("large/PAT", 7),
        ("global", 8),
        ("no-execute", 63),
    ),
)
