"""riscv64: registers as gdb numbers them.

Source: GDB manual, "RISC-V Features"; names and DWARF numbers from the RISC-V
psABI, chapters "Register Convention" and "DWARF Register Numbers".
"""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import Arch, Feature, Register

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

RISCV64 = Arch(
    name="riscv64",
    gdb_name="riscv:rv64",
    pointer_size=8,
    features=(CPU,),
    pc="pc",
    sp="sp",
    elf_machine=243,
    dump_names={"epc": "pc", "s0": "fp", **{f"x{i}": name for i, name in enumerate(_NAMES)}},
    vmcoreinfo_marks=("NUMBER(satp)", "NUMBER(va_kernel_pa_offset)"),
    triple="riscv64-unknown-linux-gnu",
    image_base=0xFFFFFFFF80000000,  # LOAD_OFFSET in arch/riscv/kernel/vmlinux.lds.S
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
