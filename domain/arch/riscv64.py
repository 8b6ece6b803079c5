"""riscv64: all that is special about it.

Sources: GDB manual, "RISC-V Features"; names and DWARF numbers from the RISC-V psABI, chapters
"Register Convention" and "DWARF Register Numbers"; page tables from the privileged architecture,
"Sv39", "Sv48", "Sv57" and "Svnapot", and arch/riscv/include/asm/pgtable-bits.h.
"""

from typing import Any, Dict, Mapping, Optional

from ..address_space import USER_END, AddressSpace
from ..errors import MemoryFault
from ..vmcoreinfo import Vmcoreinfo
from .model import Arch, Feature, Process, Register, Union, Vdso, prstatus
from .paging import (
    NOWHERE,
    SWAPPED,
    Decoded,
    EntryKind,
    KernelTables,
    Paging,
    TableForm,
    at_physical,
    permissions_by,
)
from .task_state import TaskState, UserTables

_NAMES = (
    "zero ra sp gp tp t0 t1 t2 fp s1 a0 a1 a2 a3 a4 a5 a6 a7 "
    "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
).split()
_POINTERS = {"ra": "code_ptr", "sp": "data_ptr", "gp": "data_ptr", "tp": "data_ptr"}
_ROLES = {"ra": "ra", "sp": "sp", "fp": "fp", **{f"a{i}": f"arg{i + 1}" for i in range(8)}}

CPU = Feature(
    "org.gnu.gdb.riscv.cpu",
    (
        *(
            Register(name, 64, _POINTERS.get(name, "int"), dwarf=i, role=_ROLES.get(name))
            for i, name in enumerate(_NAMES)
        ),
        Register("pc", 64, "code_ptr", role="pc"),
    ),
)
_FLOATS = (
    "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 "
    "fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11"
).split()
# Always there: gdb refuses a program for machines with a floating-point unit without it.
FPU = Feature(
    "org.gnu.gdb.riscv.fpu",
    (
        *(Register(name, 64, "riscv_double", dwarf=32 + i) for i, name in enumerate(_FLOATS)),
        *(Register(name, 32, group="float") for name in ("fflags", "frm", "fcsr")),
    ),
    (Union("riscv_double", (("float", "ieee_single"), ("double", "ieee_double"))),),
)

# elf_gregset_t is struct user_regs_struct (arch/riscv/include/uapi/asm/ptrace.h): pc, x1 to x31.
PRSTATUS = prstatus(" ".join(("pc", *_NAMES[1:])))

_VALID, _READ, _WRITE, _EXECUTE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_PROT_NONE = 1 << 5  # _PAGE_PROT_NONE, the global bit of entries that are not valid
_NAPOT = 1 << 63
_NAPOT_SIZE = 1 << 16
_FRAMES = (1 << 44) - 1 << 10
_MODES = {8: 39, 9: 48, 10: 57}  # of satp: bits of a virtual address
_IMAGE_MAGIC_AT, _IMAGE_MAGIC = 56, b"RSC\x05"  # Documentation/arch/riscv/boot-image-header.rst


def table_form(bits: int) -> TableForm:
    """Return the form of Sv39, Sv48 or Sv57."""

    def decode(entry: int, level: int) -> Decoded:
        size = 1 << 12 + 9 * (level - 1)
        start = (entry & _FRAMES) << 2
        if not entry & _VALID:
            if level > 1 or not entry:
                return NOWHERE
            return (EntryKind.HIDDEN, start, size) if entry & _PROT_NONE else SWAPPED
        if not entry & (_READ | _WRITE | _EXECUTE):
            return (EntryKind.TABLE, start, 0) if level > 1 else NOWHERE
        if entry & _NAPOT and level == 1:
            if entry >> 10 & 0xF != 8:
                return NOWHERE
            return EntryKind.PAGE, start & -_NAPOT_SIZE, _NAPOT_SIZE
        return NOWHERE if start % size else (EntryKind.PAGE, start, size)

    mask = _FRAMES | _NAPOT | _VALID | _READ | _WRITE | _EXECUTE
    return TableForm(12, (9,) * ((bits - 12) // 9), decode, run_mask=mask, run_step=1 << 10)


def _form(page_size: int, bits: int) -> TableForm:
    return table_form(bits)


def _find_tables(info: Vmcoreinfo, memory: AddressSpace) -> Optional[KernelTables]:
    satp = info.number("satp") or 0
    bits = info.number("VA_BITS") or _MODES.get(satp >> 60)
    if bits not in _MODES.values() or bits is None:
        return None
    top, offset = info.symbol("swapper_pg_dir"), info.number("va_kernel_pa_offset")
    if top is not None and offset is not None:
        root = at_physical((top - offset) & (1 << 64) - 1, 56, 4096)
        return None if root is None else KernelTables(table_form(bits), root, top)
    # The table of whatever process there was has all of the kernel.
    root = at_physical((satp & (1 << 44) - 1) << 12, 56, 4096)
    return KernelTables(table_form(bits), root) if root else None


def _first_segment(info: Vmcoreinfo, memory: AddressSpace) -> Optional[int]:
    """Return where the kernel's image begins, when KASLR has not moved it.

    Proved by the image's header, which is its first 64 bytes.
    """
    start = info.number("KERNEL_LINK_ADDR")
    if start is None:
        return None
    start += info.kaslr_offset or 0
    try:
        magic = memory.read(start + _IMAGE_MAGIC_AT, len(_IMAGE_MAGIC))
    except MemoryFault:
        return None
    return start if magic == _IMAGE_MAGIC else None


class _TaskState(TaskState):
    """riscv64: struct thread_struct holds a switched-out task's registers itself."""

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

    def switch_registers(self, task: Mapping[str, Any]) -> Dict[str, int]:
        """See TaskState.switch_registers()."""
        raw = task["saved.s"]
        registers = {
            name: int.from_bytes(raw[8 * n : 8 * n + 8], self.memory.byte_order)
            for n, name in enumerate(self.s_names)
        }
        registers["pc"] = task["saved.ra"]
        registers["sp"] = task["saved.sp"]
        return registers

    def is_user_frame(self, values: Mapping[str, Any]) -> bool:
        """See TaskState.is_user_frame()."""
        return bool(0 < values["epc"] < USER_END)

    def fp_registers(self, task: int) -> Dict[str, int]:
        """f0 to f31 and fcsr, which the kernel saves when it switches to another task."""
        frame = self.kernel.layout("struct pt_regs", ("status",))
        size = (frame.size + self.stack_align - 1) // self.stack_align * self.stack_align
        layout = self.kernel.layout(
            "struct task_struct", ("stack", "thread.fstate.f", "thread.fstate.fcsr")
        )
        values = layout.read(self.memory, task)
        at = values["stack"] + self.kernel.stack_size() - size
        if not frame.read(self.memory, at)["status"] & self.FS_BITS:
            return {}
        floats = self.memory.split(values["thread.fstate.f"])
        registers = {"f%d" % n: value for n, value in enumerate(floats)}
        fcsr = values["thread.fstate.fcsr"]
        # RISC-V unprivileged architecture, "Floating-Point Control and Status Register".
        return dict(registers, fcsr=fcsr, fflags=fcsr & 0x1F, frm=fcsr >> 5 & 7)

    def user_tables(self, pgd: int) -> Optional[UserTables]:
        """See TaskState.user_tables()."""
        info = self.kernel.vmcoreinfo()
        bits, start = info.number("VA_BITS"), info.number("phys_ram_base")
        page_offset = info.number("PAGE_OFFSET")
        if bits not in _MODES.values() or bits is None or start is None or page_offset is None:
            return None
        return UserTables(table_form(bits), (page_offset - start) % 2**64)


RISCV64 = Arch(
    name="riscv64",
    gdb_name="riscv:rv64",
    pointer_size=8,
    features=(CPU, FPU),
    pc="pc",
    sp="sp",
    elf_machine=243,
    dump_names={
        "epc": "pc",
        "s0": "fp",
        **{f"x{i}": name for i, name in enumerate(_NAMES)},
        **{f"f{i}": name for i, name in enumerate(_FLOATS)},
    },
    vmcoreinfo_marks=("NUMBER(satp)", "NUMBER(va_kernel_pa_offset)"),
    triple="riscv64-unknown-linux-gnu",
    kdumpfile_name="riscv64",
    paging=Paging(_find_tables, _form, permissions_by(_WRITE, _EXECUTE), page_size=4096),
    prstatus=PRSTATUS,
    image_base=0xFFFFFFFF80000000,  # LOAD_OFFSET in arch/riscv/kernel/vmlinux.lds.S
    first_symbol="_start",
    first_segment=_first_segment,
    process=Process(thread_pointer="tp", vdso=Vdso(start="vdso_start", end="vdso_end")),
    task_state=_TaskState,
    # RISC-V privileged specification, "Sv39".
    entry_flags=(
        ("valid", 0),
        ("read", 1),
        ("write", 2),
        ("execute", 3),
        ("user", 4),
        ("global", 5),
        ("accessed", 6),
        ("dirty", 7),
    ),
)
