"""ppc64le: all that is special about it.

Sources: GDB manual, "PowerPC Features"; DWARF numbers from the Power ELF V2 ABI, section "DWARF
Register Number Mapping"; page tables from the Power ISA, book III, "Radix Tree Translation", and
arch/powerpc/include/asm/book3s/64/radix.h. Kernels that use a hashed page table have no tables to
walk; what such a kernel maps linearly is known by its address all the same.
"""

from typing import Any, Dict, List, Mapping, Optional

from ..address_space import AddressSpace
from ..errors import MemoryFault
from ..vmcoreinfo import Vmcoreinfo
from .frames import EntryCode, FrameRange, FrameRule, KernelCode
from .model import Arch, Feature, Process, Register, prstatus
from .paging import (
    NOWHERE,
    Decoded,
    EntryKind,
    KernelTables,
    Paging,
    TableForm,
    Window,
    at_physical,
    permissions_by,
)
from .task_state import TaskState, UserTables

_ROLES = {1: "sp", **{i: f"arg{i - 2}" for i in range(3, 11)}}

CORE = Feature(
    "org.gnu.gdb.power.core",
    (
        *(
            Register(f"r{i}", 64, "data_ptr" if i == 1 else "uint64", dwarf=i, role=_ROLES.get(i))
            for i in range(32)
        ),
        Register("pc", 64, "code_ptr", role="pc"),
        Register("msr", 64, "uint64"),
        Register("cr", 32, "uint32", dwarf=68, role="flags"),
        Register("lr", 64, "code_ptr", dwarf=65, role="ra"),
        Register("ctr", 64, "uint64", dwarf=66),
        Register("xer", 32, "uint32", dwarf=76),
    ),
)
LINUX = Feature(
    "org.gnu.gdb.power.linux",
    (Register("orig_r3", 64, "int", group="system"), Register("trap", 64, "int", group="system")),
)

# elf_gregset_t: struct pt_regs (arch/powerpc/include/uapi/asm/ptrace.h) first, 48 words in all.
PRSTATUS = prstatus(
    " ".join((*(f"r{i}" for i in range(32)), "pc msr orig_r3 ctr lr xer cr - trap", *("-" * 7)))
)

_DIRECT = 0xC << 60  # PAGE_OFFSET: the kernel and all memory, as it is in physical memory
_DIRECT_END = _DIRECT + (1 << 51)  # of 4 PiB quadrants, the first half (radix.h)
_PRESENT, _LEAF = 1 << 63, 1 << 62
_WRITE, _EXECUTE = 1 << 1, 1 << 0
_FRAME = 0x01FF_FFFF_FFFF_F000
_TABLE = 0x0FFF_FFFF_FFFF_FF00
_PROBLEM_STATE = 1 << 14  # MSR[PR]


def table_form(page_size: int, bits: int) -> TableForm:
    """Return the form of radix tables with pages of 4 or 64 KiB."""
    shift = page_size.bit_length() - 1
    widths = (9, 9, 9, 13) if shift == 12 else (5, 9, 9, 13)

    def decode(entry: int, level: int) -> Decoded:
        if not entry & _PRESENT:
            return NOWHERE
        size = 1 << shift + sum(widths[: level - 1])
        if entry & _LEAF:
            return EntryKind.PAGE, entry & _FRAME & -size, size
        return (EntryKind.TABLE, entry & _TABLE, size) if level > 1 else NOWHERE

    return TableForm(
        shift,
        widths,
        decode,
        run_mask=_FRAME | _PRESENT | _LEAF | _WRITE | _EXECUTE,
        run_step=page_size,
        bits=52,
        windows=(Window(_DIRECT, _DIRECT_END, 0),),
        byte_order="big",
        prefixes=(0, _DIRECT >> 52),
        split=True,
    )


def _find_tables(info: Vmcoreinfo, memory: AddressSpace) -> Optional[KernelTables]:
    top = info.symbol("swapper_pg_dir")
    if top is None or info.page_size not in (4096, 65536):
        return None
    root = at_physical(top - _DIRECT, 51, 4096)
    return None if root is None else KernelTables(table_form(info.page_size, 52), root, top)


def _first_segment(info: Vmcoreinfo, memory: AddressSpace) -> Optional[int]:
    """Return where _stext is: the first byte of vmlinux, if the dump has that."""
    start = info.symbol("_stext")
    if start is None or start % (1 << 16):
        return None
    try:
        memory.read(start, 4)
    except MemoryFault:
        return None
    return start


def _is_user_mode(registers: Mapping[str, int]) -> bool:
    return bool(registers.get("msr", 0) & _PROBLEM_STATE)


# Entered from user mode, or where a stack begins (arch/powerpc/kernel/interrupt_64.S, entry_64.S,
# head_64.S). gdb else takes the user's stack for the caller's.
_LAST = (
    "system_call_vectored_common",
    "system_call_vectored_sigill",
    "system_call_common",
    "system_call_common_real",
    "interrupt_return_srr_user",
    "interrupt_return_hsrr_user",
    "ret_from_fork",
    "ret_from_kernel_thread",
    "start_here_common",
    "start_secondary_prolog",
)
_MOST_BYTES = 1 << 12


def _entry_ranges(code: KernelCode) -> List[FrameRange]:
    found = []
    for name in _LAST:
        start = code.symbols.get(name)
        end = code.next_symbol(start) if start is not None else None
        if start is not None and end is not None and start < end <= start + _MOST_BYTES:
            found.append(FrameRange(start, end, FrameRule(outermost=True)))
    return sorted(found)


class _TaskState(TaskState):
    """ppc64le: a switched-out task has its registers at the end of its topmost frame."""

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

    def switch_registers(self, task: Mapping[str, Any]) -> Dict[str, int]:
        """See TaskState.switch_registers()."""
        sp = task["saved.sp"]
        outer = self.memory.pointer(sp)
        layout = self.kernel.layout("struct pt_regs", ["gpr", *self.frame_registers])
        values = layout.read(self.memory, outer - layout.size)
        general = self.memory.split(values["gpr"])
        registers = {"r%d" % n: general[n] for n in self.PRESERVED}
        registers.update((name, values[member]) for member, name in self.frame_registers.items())
        registers["r1"] = outer
        return registers

    def is_user_frame(self, values: Mapping[str, Any]) -> bool:
        """See TaskState.is_user_frame()."""
        return bool(values["msr"] & _PROBLEM_STATE)

    def user_tables(self, pgd: int) -> Optional[UserTables]:
        """See TaskState.user_tables()."""
        page_size = self.kernel.vmcoreinfo().page_size
        if page_size not in (4096, 65536):
            return None
        return UserTables(table_form(page_size, 52), _DIRECT)


PPC64LE = Arch(
    name="ppc64le",
    gdb_name="powerpc:common64",
    pointer_size=8,
    features=(CORE, LINUX),
    pc="pc",
    sp="r1",
    elf_machine=21,
    dump_names={"nip": "pc", "link": "lr", "ccr": "cr", "orig_gpr3": "orig_r3",
                **{f"gpr{i:02}": f"r{i}" for i in range(32)}},
    vmcoreinfo_marks=("SYMBOL(vmemmap_list)", "SYMBOL(mmu_psize_defs)"),
    triple="powerpc64le-unknown-linux-gnu",
    kdumpfile_name="ppc64",
    paging=Paging(_find_tables, table_form, permissions_by(_WRITE, _EXECUTE), split=True),
    prstatus=PRSTATUS,
    first_symbol="_stext",
    first_segment=_first_segment,
    entry_code=EntryCode(_LAST, _entry_ranges),
    process=Process(is_user_mode=_is_user_mode),
    task_state=_TaskState,
    entry_flags=(
        ("execute", 0), ("write", 1), ("read", 2), ("privileged", 3), ("changed", 7),
        ("referenced", 8), ("leaf", 62), ("valid", 63),
    ),
)  # fmt: skip
