"""arm: what a 32-bit process of an aarch64 kernel looks like.

Source: GDB manual, "ARM Features"; DWARF numbers from "DWARF for the Arm Architecture",
section "DWARF register names". How an AArch32 process's registers lie in an aarch64
kernel's: arch/arm64/include/asm/ptrace.h (compat_sp, compat_lr) and Arm ARM, D1.20.1.
"""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import Arch, Feature, Register

_ROLES = {**{i: f"arg{i + 1}" for i in range(4)}, 11: "fp"}

CORE = Feature(
    "org.gnu.gdb.arm.core",
    (
        *(Register(f"r{i}", 32, "uint32", dwarf=i, role=_ROLES.get(i)) for i in range(13)),
        Register("sp", 32, "data_ptr", dwarf=13, role="sp"),
        Register("lr", 32, "int", dwarf=14, role="ra"),
        Register("pc", 32, "code_ptr", dwarf=15, role="pc"),
        Register("cpsr", 32, "int", role="flags"),
    ),
)
VFP = Feature(
    "org.gnu.gdb.arm.vfp",
    (
        *(Register(f"d{i}", 64, "ieee_double", dwarf=256 + i) for i in range(32)),
        Register("fpscr", 32, "int", group="float"),
    ),
)

ARM = Arch(
    name="arm",
    gdb_name="arm",
    pointer_size=4,
    features=(CORE,),
    optional={"vfp": VFP},
    pc="pc",
    sp="sp",
    elf_machine=40,
    dump_names={
        **{f"x{i}": f"r{i}" for i in range(13)},
        "x13": "sp",
        "x14": "lr",
        "pstate": "cpsr",
    },
    triple="armv7-unknown-linux-gnueabihf",
)
