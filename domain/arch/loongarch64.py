"""loongarch64: all that is special about it.

Sources: GDB manual, "LoongArch Features"; DWARF numbers from the LoongArch ELF psABI, "DWARF
register numbers"; page tables from arch/loongarch/include/asm/pgtable.h and pgtable-bits.h,
windows from asm/addrspace.h and the LoongArch Reference Manual, "Direct mapped address
translation mode".
"""

from typing import Optional, Sequence

from ..address_space import AddressSpace
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
    Window,
)

_POINTERS = {1: "code_ptr", 2: "data_ptr", 3: "data_ptr", 22: "data_ptr"}
_ROLES = {1: "ra", 3: "sp", 22: "fp", **{4 + i: f"arg{i + 1}" for i in range(8)}}

BASE = Feature(
    "org.gnu.gdb.loongarch.base",
    (
        *(
            Register(f"r{i}", 64, _POINTERS.get(i, "uint64"), dwarf=i, role=_ROLES.get(i))
            for i in range(32)
        ),
        Register("orig_a0", 64, "uint64", group="system"),
        Register("pc", 64, "code_ptr", role="pc"),
        Register("badv", 64, "code_ptr", group="system"),
    ),
)
FPU = Feature(
    "org.gnu.gdb.loongarch.fpu",
    (
        *(Register(f"f{i}", 64, "fputype", "float", dwarf=32 + i) for i in range(32)),
        *(Register(f"fcc{i}", 8, "uint8", "float") for i in range(8)),
        Register("fcsr", 32, "uint32", "float"),
    ),
    (Union("fputype", (("f", "ieee_single"), ("d", "ieee_double"))),),
)

# elf_gregset_t (arch/loongarch/include/asm/elf.h): 45 words, the last ten for control registers.
PRSTATUS = prstatus(" ".join((*(f"r{i}" for i in range(32)), "orig_a0", "pc", "badv", *"-" * 10)))

_GLOBAL, _HUGE, _PRESENT, _WRITE, _PROT_NONE = 1 << 6, 1 << 6, 1 << 7, 1 << 8, 1 << 10
_NO_EXECUTE = 1 << 62
_PHYSICAL = (1 << 48) - 1
_ADDRESS_BITS = 48  # of all CPUs so far
_CACHED = 0x9000  # the highest 16 bits of addresses in the window that the kernel lives in
# Uncached and cached: the kernel itself and all of memory are in the latter.
_WINDOWS = tuple(Window(at << 48, at + 1 << 48, 0) for at in (0x8000, _CACHED))


def table_form(page_size: int, levels: int) -> TableForm:
    """Return the form for pages of 4, 16 or 64 KiB and tables of so many levels.

    Entries are not the hardware's but the kernel's: those of upper tables are the virtual
    addresses of lower ones, and empty ones lead to a table without a page.
    """
    page_shift = page_size.bit_length() - 1
    width = page_shift - 3
    frame = _PHYSICAL & -page_size

    def decode(entry: int, level: int) -> Decoded:
        size = 1 << page_shift + width * (level - 1)
        if level > 1 and not entry & _HUGE:
            return (EntryKind.TABLE, entry & frame, 0) if entry >> 48 == _CACHED else NOWHERE
        if level > 2:
            return NOWHERE
        if entry & _PRESENT:
            return EntryKind.PAGE, entry & frame & -size, size
        if entry & _PROT_NONE:
            return EntryKind.HIDDEN, entry & frame & -size, size
        return SWAPPED if entry & ~_GLOBAL and level == 1 else NOWHERE

    return TableForm(
        page_shift,
        (width,) * levels,
        decode,
        run_mask=frame | _PRESENT,
        run_step=page_size,
        split=True,
        bits=max(_ADDRESS_BITS, page_shift + width * levels),
        windows=_WINDOWS,
    )


def _form(page_size: int, bits: int) -> TableForm:
    width = page_size.bit_length() - 4
    return table_form(page_size, -(-(bits - width - 3) // width))


def _find_tables(info: Vmcoreinfo, memory: AddressSpace) -> Optional[KernelTables]:
    """Find the tables; nothing tells how many levels there are but they themselves.

    The first entry of each leads to a table of the next level, be it an empty one.
    """
    top, page_size = info.symbol("swapper_pg_dir"), info.page_size
    if top is None or top >> 48 != _CACHED or page_size not in (4096, 16384, 65536):
        return None
    levels, table = 1, top & _PHYSICAL
    try:
        while levels <= 4:
            entry = memory.read_uint(table, 8, "little")
            if entry >> 48 != _CACHED or entry % page_size:
                break
            levels, table = levels + 1, entry & _PHYSICAL
    except MemoryFault:
        return None
    if not 2 <= levels <= 4:
        return None
    return KernelTables(table_form(page_size, levels), top & _PHYSICAL)


def _permissions(address: int, entries: Sequence[int]) -> str:
    last = entries[-1] if entries else _WRITE
    return "r" + "w" * bool(last & _WRITE) + "x" * (not last & _NO_EXECUTE)


LOONGARCH64 = Arch(
    name="loongarch64",
    gdb_name="loongarch64",
    pointer_size=8,
    features=(BASE,),
    optional={"fpu": FPU},
    pc="pc",
    sp="r3",
    elf_machine=258,
    dump_names={"era": "pc", "ra": "r1", "tp": "r2", "sp": "r3", "fp": "r22"},
    triple="loongarch64-unknown-linux-gnu",
    paging=Paging(_find_tables, _form, _permissions, split=True),
    prstatus=PRSTATUS,
    process=Process(thread_pointer="r2", vdso=Vdso(start="vdso_start", end="vdso_end")),
    entry_flags=(
        ("valid", 0),
        ("dirty", 1),
        ("user", 2),
        ("cached", 4),
        ("global/huge", 6),
        ("present", 7),
        ("write", 8),
        ("modified", 9),
        ("PROT_NONE", 10),
        ("no-read", 61),
        ("no-execute", 62),
    ),
)
