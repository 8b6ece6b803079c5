"""i386: what a 32-bit process of an x86_64 kernel looks like.

Source: GDB manual, "i386 Features"; DWARF numbers from the System V i386 psABI, section
"DWARF Register Number Mapping". The kernel saves a 32-bit process's registers in the same
places as a 64-bit one's (arch/x86/include/asm/ptrace.h), so they come by 64-bit names.
"""

from .model import Arch, Feature, Process, Register, Vdso
from .x86_64 import AVX, EFLAGS, MXCSR, SEGMENTS, VECTOR_TYPES, X86_64, X87

_GENERAL = "eax ecx edx ebx esp ebp esi edi eip".split()
_TYPES = {"esp": "data_ptr", "ebp": "data_ptr", "eip": "code_ptr"}
_ROLES = {"eip": "pc", "esp": "sp", "ebp": "fp"}
_VECTORS = 8

CORE = Feature(
    "org.gnu.gdb.i386.core",
    (
        *(
            Register(name, 32, _TYPES.get(name, "int32"), dwarf=number, role=_ROLES.get(name))
            for number, name in enumerate(_GENERAL)
        ),
        Register("eflags", 32, "i386_eflags", dwarf=9, role="flags"),
        *SEGMENTS,
        # The psABI has st0 at 11, where x86_64 has 33.
        *(Register(x.name, x.bits, x.type, x.group, x.dwarf and x.dwarf - 22) for x in X87),
    ),
    (EFLAGS,),
)
LINUX = Feature("org.gnu.gdb.i386.linux", (Register("orig_eax", 32, "int", group="system"),))
SSE = Feature(
    "org.gnu.gdb.i386.sse",
    (
        *(Register(f"xmm{i}", 128, "vec128", dwarf=21 + i) for i in range(_VECTORS)),
        Register("mxcsr", 32, "i386_mxcsr", group="vector"),
    ),
    (*VECTOR_TYPES, MXCSR),
)

I386 = Arch(
    name="i386",
    gdb_name="i386",
    pointer_size=4,
    features=(CORE, LINUX),
    optional={"sse": SSE, "avx": Feature(AVX.name, AVX.registers[:_VECTORS])},
    extends={"avx": "sse"},
    pc="eip",
    sp="esp",
    elf_machine=3,
    dump_names={
        **{f"r{name[1:]}": name for name in _GENERAL},
        "rflags": "eflags",
        "orig_rax": "orig_eax",
        "orig_ax": "orig_eax",
    },
    triple="i386-unknown-linux-gnu",
    process=Process(thread_pointer="gs_base", tls_below=True, vdso=Vdso(image="vdso_image_32")),
    compat_of=X86_64.name,
)
