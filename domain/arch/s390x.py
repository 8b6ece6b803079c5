"""s390x: all that is special about it.

Sources: GDB manual, "S/390 and System z Features"; DWARF numbers from the s390x ELF ABI, "DWARF
Register Number Mapping"; page tables from the z/Architecture Principles of Operation, "Dynamic
Address Translation", and arch/s390/include/asm/pgtable.h. The kernel has an address space of its
own, which begins at 0 as a process's does.
"""

from typing import Any, Dict, Mapping, Optional, Sequence

from ..address_space import AddressSpace
from ..errors import MemoryFault
from ..vmcoreinfo import Vmcoreinfo
from .model import Arch, Feature, NoteLayout, Process, Register
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

_ROLES = {15: "sp", 14: "ra", 11: "fp", **{i: f"arg{i - 1}" for i in range(2, 7)}}

CORE = Feature(
    "org.gnu.gdb.s390.core",
    (
        Register("pswm", 64, "uint64", dwarf=64, role="flags"),
        Register("pswa", 64, "code_ptr", dwarf=65, role="pc"),
        *(
            Register(f"r{i}", 64, "data_ptr" if i == 15 else "uint64", dwarf=i, role=_ROLES.get(i))
            for i in range(16)
        ),
    ),
)
ACCESS = Feature(
    "org.gnu.gdb.s390.acr",
    tuple(Register(f"acr{i}", 32, "uint32", dwarf=48 + i) for i in range(16)),
)
FPU = Feature(
    "org.gnu.gdb.s390.fpr",
    (
        Register("fpc", 32, "uint32", group="float"),
        *(Register(f"f{i}", 64, "ieee_double") for i in range(16)),
    ),
)
LINUX = Feature("org.gnu.gdb.s390.linux", (Register("orig_r2", 64, "uint64", group="system"),))

# struct elf_prstatus with s390_regs (arch/s390/include/uapi/asm/ptrace.h).
PRSTATUS = NoteLayout(
    336,
    (
        ("pswm", 112, 8),
        ("pswa", 120, 8),
        *((f"r{i}", 128 + 8 * i, 8) for i in range(16)),
        *((f"acr{i}", 256 + 4 * i, 4) for i in range(16)),
        ("orig_r2", 320, 8),
    ),
    pid_at=32,
)

_INVALID, _LARGE, _PROTECTED = 0x20, 0x400, 0x200  # of region and segment entries
_PAGE_INVALID, _PAGE_PRESENT = 0x400, 0x1
_TYPE = 0xC  # what tables an entry is in: 3 the first region's, 0 segments
_ORIGIN = -(1 << 12) & (1 << 64) - 1
_PAGE_TABLE = -(1 << 11) & (1 << 64) - 1
_PROBLEM_STATE = 1 << 48


def table_form(page_size: int, bits: int) -> TableForm:
    """Return the form of two to five levels: 31, 42, 53 or 64 bits."""
    widths = (8, *((11,) * ((bits - 20) // 11)))

    def decode(entry: int, level: int) -> Decoded:
        if level == 1:
            if not entry & _PAGE_INVALID:
                return EntryKind.PAGE, entry & _ORIGIN, 1 << 12
            return SWAPPED if entry & ~(_PAGE_INVALID | _PROTECTED) else NOWHERE
        if entry & _INVALID or (entry & _TYPE) >> 2 != level - 2:
            return NOWHERE  # a process may have more levels than the kernel
        size = 1 << 20 + 11 * (level - 2)
        if entry & _LARGE and level < 4:
            return EntryKind.PAGE, entry & -size, size
        return EntryKind.TABLE, entry & (_PAGE_TABLE if level == 2 else _ORIGIN), size

    return TableForm(
        12, widths, decode, run_mask=_ORIGIN | _PAGE_INVALID | _PROTECTED, run_step=1 << 12,
        bits=bits, split=True, prefixes=(0, 0),
    )  # fmt: skip


def _bits(first: int) -> int:
    """Return the bits of an address, by the first entry of the top table."""
    return 31 + 11 * ((first & _TYPE) >> 2)


def _find_tables(info: Vmcoreinfo, memory: AddressSpace) -> Optional[KernelTables]:
    """Return the kernel's tables; each entry of the top one tells which level it is."""
    top = info.symbol("swapper_pg_dir")
    if top is None:
        return None
    root = at_physical(top, 53, 1 << 12)
    if root is None:
        return None
    try:
        first = int.from_bytes(memory.read_exact(root, 8), "big")
    except MemoryFault:
        return None
    return KernelTables(table_form(1 << 12, _bits(first)), root, top)


def _permissions(address: int, entries: Sequence[int]) -> str:
    last = entries[-1] if entries else 0
    return "r" + "w" * (not last & _PROTECTED) + "x"


def _first_segment(info: Vmcoreinfo, memory: AddressSpace) -> Optional[int]:
    return info.symbol("_stext")  # where _text is, too (arch/s390/kernel/vmlinux.lds.S)


def _is_user_mode(registers: Mapping[str, int]) -> bool:
    return bool(registers.get("pswm", 0) & _PROBLEM_STATE)


class _TaskState(TaskState):
    """s390x: a switched-out task's registers are where its functions saved them, by the ABI."""

    saved = {"saved.sp": "thread.ksp"}
    FIRST_SAVED = 6  # struct stack_frame has r6 to r15 (arch/s390/include/asm/stacktrace.h)
    # arch/s390/include/asm/ptrace.h
    user_frame = {"psw.mask": "pswm", "psw.addr": "pswa", "gprs": "r", "orig_gpr2": "orig_r2"}
    user_thread = {"acrs": "thread.acrs"}

    def switch_registers(self, task: Mapping[str, Any]) -> Dict[str, int]:
        """See TaskState.switch_registers(); the return address is r14."""
        frame = self.kernel.layout("struct stack_frame", ["gprs"])
        values = self.memory.split(frame.read(self.memory, task["saved.sp"])["gprs"])
        registers = {"r%d" % (self.FIRST_SAVED + n): value for n, value in enumerate(values)}
        registers["pswa"] = registers["r14"]
        return registers

    def is_user_frame(self, values: Mapping[str, Any]) -> bool:
        """See TaskState.is_user_frame()."""
        return bool(values["psw.mask"] & _PROBLEM_STATE)

    def thread_registers(self, thread: Mapping[str, Any]) -> Dict[str, int]:
        """Access registers; the first two hold the thread pointer."""
        raw, order = thread.get("acrs", b""), self.memory.byte_order
        words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
        return {"acr%d" % n: int.from_bytes(word, order) for n, word in enumerate(words)}

    def user_tables(self, pgd: int) -> Optional[UserTables]:
        """See TaskState.user_tables().

        How many tables a process has grows with it; each entry tells which level it is in.
        """
        return UserTables(table_form(1 << 12, _bits(self.memory.integer(pgd, 8))), 0)


S390X = Arch(
    name="s390x",
    gdb_name="s390:64-bit",
    pointer_size=8,
    byte_order="big",
    features=(CORE, ACCESS, FPU, LINUX),
    pc="pswa",
    sp="r15",
    elf_machine=22,
    dump_names={"orig_gpr2": "orig_r2", **{f"gpr{i}": f"r{i}" for i in range(16)}},
    vmcoreinfo_marks=("SYMBOL(lowcore_ptr)",),
    triple="s390x-unknown-linux-gnu",
    aliases=("S390X",),
    kdumpfile_name="s390x",
    kernel_start=0,
    paging=Paging(_find_tables, table_form, _permissions, split=True),
    prstatus=PRSTATUS,
    first_symbol="_text",
    first_segment=_first_segment,
    process=Process(thread_pointer="acr0 acr1", tls_below=True, is_user_mode=_is_user_mode),
    task_state=_TaskState,
    entry_flags=(("protected", 9), ("invalid", 10)),
)
