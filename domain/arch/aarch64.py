"""aarch64: all that is special about it.

Sources: GDB manual, "AArch64 Features"; DWARF numbers from "DWARF for the Arm 64-bit
Architecture", section "DWARF register names"; page tables from the Arm ARM, D8.2 and D8.3, and
what Linux makes of them from arch/arm64/include/asm/pgtable-hwdef.h and pgtable-prot.h.
"""

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ..address_space import USER_END, AddressSpace
from ..errors import MemoryFault
from ..vmcoreinfo import Vmcoreinfo
from .aarch64_entry import ENTRY, SIGNED
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

CPSR = Flags(
    "cpsr_flags",
    4,
    named_bits(
        "SP:0 nRW:4 F:6 I:7 A:8 D:9 BTYPE0:10 BTYPE1:11 SSBS:12 IL:20 SS:21 PAN:22 UAO:23 "
        "DIT:24 TCO:25 V:28 C:29 Z:30 N:31"
    ),
    (("EL", 2, 3),),  # the exception level
)
_ROLES = {29: "fp", 30: "ra", **{i: f"arg{i + 1}" for i in range(8)}}

CORE = Feature(
    "org.gnu.gdb.aarch64.core",
    (
        *(Register(f"x{i}", 64, "int64", dwarf=i, role=_ROLES.get(i)) for i in range(31)),
        Register("sp", 64, "data_ptr", dwarf=31, role="sp"),
        Register("pc", 64, "code_ptr", dwarf=32, role="pc"),
        Register("cpsr", 32, "cpsr_flags", role="flags"),
    ),
    (CPSR,),
)
FPU = Feature(
    "org.gnu.gdb.aarch64.fpu",
    (
        *(Register(f"v{i}", 128, "aarch64v", dwarf=64 + i) for i in range(32)),
        Register("fpsr", 32, "int", group="float"),
        Register("fpcr", 32, "int", group="float"),
    ),
    (
        Vector("v2d", "ieee_double", 2),
        Vector("v2u", "uint64", 2),
        Vector("v2i", "int64", 2),
        Vector("v4f", "ieee_single", 4),
        Vector("v4u", "uint32", 4),
        Vector("v4i", "int32", 4),
        Vector("v8u", "uint16", 8),
        Vector("v8i", "int16", 8),
        Vector("v16u", "uint8", 16),
        Vector("v16i", "int8", 16),
        Vector("v1u", "uint128", 1),
        Vector("v1i", "int128", 1),
        Union("vnd", (("f", "v2d"), ("u", "v2u"), ("s", "v2i"))),
        Union("vns", (("f", "v4f"), ("u", "v4u"), ("s", "v4i"))),
        Union("vnh", (("u", "v8u"), ("s", "v8i"))),
        Union("vnb", (("u", "v16u"), ("s", "v16i"))),
        Union("vnq", (("u", "v1u"), ("s", "v1i"))),
        Union("aarch64v", (("d", "vnd"), ("s", "vns"), ("h", "vnh"), ("b", "vnb"), ("q", "vnq"))),
    ),
)
TLS = Feature("org.gnu.gdb.aarch64.tls", (Register("tpidr", 64, "data_ptr"),))
PAUTH = Feature(
    "org.gnu.gdb.aarch64.pauth",
    (Register("pauth_dmask", 64), Register("pauth_cmask", 64)),
)

# elf_gregset_t is struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h).
PRSTATUS = prstatus(" ".join((*(f"x{i}" for i in range(31)), "sp", "pc", "cpsr")))

# struct user_fpsimd_state, of the same file.
FPREGSET = NoteLayout(
    528,
    (*((f"v{i}", 16 * i, 16) for i in range(32)), ("fpsr", 512, 4), ("fpcr", 516, 4)),
)

_VALID, _TABLE, _READ_ONLY = 1 << 0, 1 << 1, 1 << 7
_NO_EXECUTE_KERNEL, _NO_EXECUTE_USER = 1 << 53, 1 << 54
_PROT_NONE = 1 << 58  # PTE_PROT_NONE, until 6.10
_PRESENT_INVALID = 1 << 11  # PTE_PRESENT_INVALID since 6.10, part of swap entries before
_ADDRESS = 0x0000_FFFF_FFFF_F000
_WIDE_ADDRESS = 0x0003_FFFF_FFFF_F000
_IMAGE_MAGIC_AT, _IMAGE_MAGIC = 56, b"ARM\x64"  # Documentation/arch/arm64/booting.rst
_IMAGE_ALIGN, _PAGE = 1 << 21, 1 << 12
_MOST_HEAD = 1 << 16  # SEGMENT_ALIGN: how far _stext can be above _text


def table_form(page_size: int, bits: int, index_bits: int = 0) -> TableForm:
    """Return the form for pages of 4, 16 or 64 KiB and virtual addresses of so many bits.

    `index_bits`, if more, is how many bits the kernel's tables were made for: those with 64 KiB
    pages and 52 bits have as large a top table on a CPU that has 48.
    """
    page_shift = page_size.bit_length() - 1
    width = page_shift - 3
    rest = max(bits, index_bits) - page_shift
    widths = (width,) * (rest // width) + ((rest % width,) if rest % width else ())
    # With 52 bits and small pages two bits of the address are where the shareability was
    # (LPA2), with 64 KiB pages four of them are below the address (LPA).
    lpa, lpa2 = page_shift == 16, page_shift < 16 and bits > 48
    low = -page_size & (_WIDE_ADDRESS if lpa2 else _ADDRESS)
    # The largest block, by level: 1 GiB, 32 MiB, 512 MiB; a level more with LPA and LPA2.
    largest = (3 if page_shift == 12 else 2) + (lpa or lpa2)

    def frame(entry: int) -> int:
        address = entry & low
        if lpa:
            return address | (entry & 0xF000) << 36
        return address | (entry & 0x300) << 42 if lpa2 else address

    def decode(entry: int, level: int) -> Decoded:
        size = 1 << page_shift + width * (level - 1)
        if not entry & _VALID:
            if level > 1 or not entry:
                return NOWHERE
            if entry & _PROT_NONE:
                return EntryKind.HIDDEN, frame(entry), size
            # Bit 11 tells hidden pages from swapped ones since 6.10 and belongs to the swap
            # offset before: then nothing is claimed.
            return NOWHERE if entry & _PRESENT_INVALID else SWAPPED
        if entry & _TABLE:
            return (EntryKind.TABLE if level > 1 else EntryKind.PAGE), frame(entry), size
        if not 1 < level <= largest:
            return NOWHERE
        return EntryKind.PAGE, frame(entry) & -size, size

    high = 0xF000 if lpa else 0x300 if lpa2 else 0
    return TableForm(
        page_shift,
        widths,
        decode,
        run_mask=low | high | _VALID | _TABLE,
        run_step=page_size,
        split=True,
        bits=bits,
    )


def _sizes(info: Vmcoreinfo) -> Optional[Tuple[int, int, int]]:
    """Return the page size, the bits of an address, and those that the kernel was made for."""
    made_for, page_size = info.number("VA_BITS"), info.page_size
    unused = info.number("TCR_EL1_T1SZ")
    if made_for is None or page_size not in (4096, 16384, 65536):
        return None
    if unused is None and made_for > 48:
        return None  # such kernels run on CPUs with fewer bits, too
    bits = made_for if unused is None else 64 - unused
    return (page_size, bits, made_for) if 25 <= bits <= made_for <= 52 else None


def _find_tables(info: Vmcoreinfo, memory: AddressSpace) -> Optional[KernelTables]:
    top, offset, sizes = info.symbol("swapper_pg_dir"), info.number("kimage_voffset"), _sizes(info)
    if top is None or offset is None or sizes is None:
        return None
    page_size, bits, made_for = sizes
    form = table_form(page_size, bits, made_for if page_size == 65536 else 0)
    root = at_physical((top - offset) & (1 << 64) - 1, 52, 64)
    return None if root is None else KernelTables(form, root, top)


def _permissions(address: int, entries: Sequence[int]) -> str:
    last = entries[-1] if entries else 0
    no_execute = _NO_EXECUTE_KERNEL if address >> 63 else _NO_EXECUTE_USER
    return "r" + "w" * (not last & _READ_ONLY) + "x" * (not last & no_execute)


def _first_segment(info: Vmcoreinfo, memory: AddressSpace) -> Optional[int]:
    """Return where _text is: at KIMAGE_VADDR (MODULES_END), moved by KASLR.

    An image begins at a multiple of 2 MiB (MIN_KIMG_ALIGN, arch/arm64/include/asm/boot.h), and
    _stext, which another place in the kernel tells, follows on its head: some pages, far less.
    Before 5.8 it began half a MiB later. Where the head can be read, the image's header must
    be in it; a running kernel does not always map it, and gives its memory away.
    """
    base, moved, code = info.number("MODULES_END"), info.kaslr_offset, info.symbol("_stext")
    if base is None or moved is None or code is None:
        return None
    start = base + moved
    head = code - start
    if start % _IMAGE_ALIGN or head % _PAGE or not 0 < head <= _MOST_HEAD:
        return None
    try:
        magic = memory.read(start + _IMAGE_MAGIC_AT, len(_IMAGE_MAGIC))
    except MemoryFault:
        return start
    return start if magic == _IMAGE_MAGIC else None


def _addressing_bits(info: Vmcoreinfo) -> Optional[int]:
    mask = info.number("KERNELPACMASK") or 0
    return (mask & -mask).bit_length() - 1 if mask else None


def _machine_registers(info: Vmcoreinfo) -> Dict[str, int]:
    """Return the masks of pointer authentication, none where the machine had none.

    Addresses of either half have as many bits. Bit 55, which tells the halves apart, is in the
    kernel's mask, too: gdb sets or clears all of it by that bit. gdb 13 always clears, and by
    the bit that is then left alone a kernel's address can be told (`SIGNED`).
    """
    mask = (info.number("KERNELPACMASK") or 0) & ~SIGNED[0]
    return {"pauth_dmask": mask, "pauth_cmask": mask} if mask else {}


def _is_user_mode(registers: Mapping[str, int]) -> bool:
    return registers.get("cpsr", 1) & 0xF == 0  # the exception level


def _clean_pointer(address: int) -> int:
    """Return an address without the tag that its top byte may carry (KASAN, MTE)."""
    return address | 0xFF << 56 if address >> 55 & 1 else address


class _TaskState(TaskState):
    """aarch64: thread.cpu_context holds a switched-out task's registers."""

    # arch/arm64/include/asm/processor.h: struct cpu_context; gdb calls fp x29.
    context = dict({"x%d" % n: "x%d" % n for n in range(19, 29)}, fp="x29", sp="sp", pc="pc")
    saved = {"saved." + name: "thread.cpu_context." + name for name in context}

    # arch/arm64/include/asm/ptrace.h
    user_frame = {"regs": "x", "sp": "sp", "pc": "pc", "pstate": "cpsr"}
    user_thread = {"tpidr": "thread.uw.tp_value", "fault": "thread.fault_address"}
    narrow = {"cpsr": 32}
    EL_MASK, AARCH32 = 0xF, 0x10  # of pstate: the exception level (0: user), 32-bit mode
    FP_STATE_SVE = 2  # enum fp_type, arch/arm64/include/asm/processor.h

    def code_address(self, address: int) -> int:
        """Return it without the authentication code an address may carry in its high bits.

        Bit 55 tells kernel from user addresses and is never part of the code (Arm ARM, "Pointer
        authentication"). All kernel code has the bits set that are above the first zero of _stext.
        """
        if not address >> 55 & 1:
            return address
        return address | 2**64 - (1 << (~self.kernel.address("_stext") % 2**64).bit_length())

    def switch_registers(self, task: Mapping[str, Any]) -> Dict[str, int]:
        """See TaskState.switch_registers()."""
        registers = {name: task["saved." + member] for member, name in self.context.items()}
        registers["pc"] = self.code_address(registers["pc"])
        return registers

    def is_user_frame(self, values: Mapping[str, Any]) -> bool:
        """See TaskState.is_user_frame()."""
        return bool(values["pstate"] & self.EL_MASK == 0 and values["pc"] < USER_END)

    def thread_registers(self, thread: Mapping[str, Any]) -> Dict[str, int]:
        """See TaskState.thread_registers()."""
        return {"tpidr": thread["tpidr"]} if "tpidr" in thread else {}

    def is_compat(self, registers: Mapping[str, int], auxv_is_32: bool) -> bool:
        """See TaskState.is_compat()."""
        return bool(registers.get("cpsr", 0) & self.AARCH32)  # the server renames (D1.20.1)

    def fault_address(self, thread: Mapping[str, Any]) -> Optional[int]:
        """See TaskState.fault_address()."""
        return thread.get("fault") or None

    def user_tables(self, pgd: int) -> Optional[UserTables]:
        """See TaskState.user_tables().

        The direct mapping begins at the bottom of the kernel's addresses, before 5.4 in their
        middle (arch/arm64/include/asm/memory.h); the table itself is in it and tells. A kernel
        made for more bits than its CPU has takes the difference off the start of memory.
        """
        info = self.kernel.vmcoreinfo()
        sizes, start = _sizes(info), info.number("PHYS_OFFSET")
        if sizes is None or start is None:
            return None
        page_size, bits, made_for = sizes
        half = made_for - (bits == made_for and pgd >> made_for - 1 & 1)
        direct = 2**64 - (1 << half) - start
        return UserTables(table_form(page_size, bits), direct % 2**64)

    def fp_registers(self, task: int) -> Dict[str, int]:
        """The FPSIMD registers; where SVE's are in use, their low 128 bits."""
        memory, type_ = self.kernel.memory, "struct task_struct"
        state = self.kernel.member(type_, "thread.uw.fpsimd_state.vregs")
        if state is None:
            return {}
        data = memory.fetch(task + state.offset, 32 * 16 + 8)
        stride, vectors = 16, data
        fp_type = self.kernel.member(type_, "thread.fp_type")
        if fp_type and memory.integer(task + fp_type.offset, 4) == self.FP_STATE_SVE:
            layout = self.kernel.layout(type_, (), ("thread.sve_state", "thread.vl"))
            values = layout.read(memory, task)
            stride = int.from_bytes(values["thread.vl"][:4], memory.byte_order)
            vectors = memory.fetch(values["thread.sve_state"], 32 * stride)
        registers = {
            "v%d" % n: int.from_bytes(vectors[n * stride : n * stride + 16], memory.byte_order)
            for n in range(32)
        }
        registers["fpsr"] = int.from_bytes(data[512:516], memory.byte_order)
        registers["fpcr"] = int.from_bytes(data[516:520], memory.byte_order)
        return registers


AARCH64 = Arch(
    name="aarch64",
    gdb_name="aarch64",
    pointer_size=8,
    features=(CORE,),
    optional={"fpu": FPU, "tls": TLS, "pauth": PAUTH},
    pc="pc",
    sp="sp",
    elf_machine=183,
    dump_names={"pstate": "cpsr", "lr": "x30", "fp": "x29"},
    vmcoreinfo_marks=("NUMBER(kimage_voffset)",),
    triple="aarch64-unknown-linux-gnu",
    aliases=("arm64",),
    kdumpfile_name="aarch64",
    paging=Paging(_find_tables, table_form, _permissions, split=True),
    prstatus=PRSTATUS,
    fp_note=FPREGSET,
    first_segment=_first_segment,
    machine_registers=_machine_registers,
    addressing_bits=_addressing_bits,
    # gdb 13 takes the register in which it keeps what is signed for $q0 where there is no fpu.
    extends={"pauth": "fpu"},
    entry_code=ENTRY,
    # The guard region at the end (Documentation/arch/arm64/memory.rst). It is of the kernel's
    # half: gdb takes the bits that may hold a tag or a code for copies of the one below.
    spare_address=0xFFFF_FFFF_FFE0_0000,
    process=Process(
        thread_pointer="tpidr",
        is_user_mode=_is_user_mode,
        vdso=Vdso(start="vdso_start", end="vdso_end"),
    ),
    clean_pointer=_clean_pointer,
    task_state=_TaskState,
    # Arm ARM, D8.3, stage 1 descriptors.
    entry_flags=(
        ("valid", 0),
        ("table/page", 1),
        ("user", 6),
        ("read-only", 7),
        ("accessed", 10),
        ("not-global", 11),
        ("dirty", 51),
        ("contiguous", 52),
        ("no-execute (kernel)", 53),
        ("no-execute (user)", 54),
    ),
)
