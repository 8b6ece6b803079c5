"""x86_64: registers as gdb numbers them.

Source: GDB manual, "i386 Features"; DWARF numbers from the System V AMD64 psABI,
section "DWARF Register Number Mapping".
"""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import Arch, Feature, Flags, Register, Union, Vector

EFLAGS = Flags(
    "i386_eflags",
    4,
    (
        ("", 1),
        ("CF", 0),
        ("PF", 2),
        ("AF", 4),
        ("ZF", 6),
        ("SF", 7),
        ("TF", 8),
        ("IF", 9),
        ("DF", 10),
        ("OF", 11),
        ("NT", 14),
        ("RF", 16),
        ("VM", 17),
        ("AC", 18),
        ("VIF", 19),
        ("VIP", 20),
        ("ID", 21),
    ),
)
MXCSR = Flags(
    "i386_mxcsr",
    4,
    (
        ("IE", 0),
        ("DE", 1),
        ("ZE", 2),
        ("OE", 3),
        ("UE", 4),
        ("PE", 5),
        ("DAZ", 6),
        ("IM", 7),
        ("DM", 8),
        ("ZM", 9),
        ("OM", 10),
        ("UM", 11),
        ("PM", 12),
        ("FZ", 15),
    ),
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

_DWARF = dict(
    zip(
        "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split(),
        range(17),
        strict=True,
    )
)
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

X86_64 = Arch(
    name="x86_64",
    gdb_name="i386:x86-64",
    pointer_size=8,
    # With SSE even if nobody has values: `gcore` of gdb 13 to 18 aborts gdb without it.
    features=(CORE, LINUX, BASES, SSE),
    optional={"avx": AVX},
    pc="rip",
    sp="rsp",
    elf_machine=62,
    dump_names={"rflags": "eflags", "orig_ax": "orig_rax"},
    vmcoreinfo_marks=("SYMBOL(init_top_pgt)", "NUMBER(pgtable_l5_enabled)"),
    triple="x86_64-unknown-linux-gnu",
    image_base=0xFFFFFFFF80000000,  # LOAD_OFFSET in arch/x86/kernel/vmlinux.lds.S
    # Intel SDM volume 3, 4.5; bit 7 is PAT in the lowest table and "page size" above.
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
