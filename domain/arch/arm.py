"""arm: what a 32-bit process of an aarch64 kernel looks like.

Source: GDB manual, "ARM Features"; DWARF numbers from "DWARF for the Arm Architecture",
section "DWARF register names". How an AArch32 process's registers lie in an aarch64
kernel's: arch/arm64/include/asm/ptrace.h (compat_sp, compat_lr) and Arm ARM, D1.20.1.
"""

from typing import Dict, Mapping

from .aarch64 import AARCH64
from .model import Arch, Feature, Process, Register

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

_FPSCR_BITS = 0xF7FFFFFF
_DUMP_NAMES = {
    **{f"x{i}": f"r{i}" for i in range(13)},
    "x13": "sp",
    "x14": "lr",
    "pstate": "cpsr",
}


def _from_kernel(values: Mapping[str, int]) -> Dict[str, int]:
    """Return a process's registers from the kernel's.

    r13 and r14 are in x13 and x14, d0 to d31 in v0 to v15, fpscr in fpsr and fpcr (Arm ARM,
    D1.20.1 and G8.2).
    """
    same = ("pc", "cpsr", "tpidr", *(f"x{i}" for i in range(15)))
    result = {_DUMP_NAMES.get(name, name): values[name] for name in same if name in values}
    for i in range(16):
        vector = values.get(f"v{i}")
        if vector is not None:
            result[f"d{2 * i}"] = vector & ((1 << 64) - 1)
            result[f"d{2 * i + 1}"] = vector >> 64
    if "fpsr" in values and "fpcr" in values:
        result["fpscr"] = (values["fpsr"] | values["fpcr"]) & _FPSCR_BITS
    return result


ARM = Arch(
    name="arm",
    gdb_name="arm",
    pointer_size=4,
    features=(CORE,),
    optional={"vfp": VFP},
    pc="pc",
    sp="sp",
    elf_machine=40,
    dump_names=_DUMP_NAMES,
    triple="armv7-unknown-linux-gnueabihf",
    process=Process(thread_pointer="tpidr"),
    compat_of=AARCH64.name,
    from_kernel=_from_kernel,
)
