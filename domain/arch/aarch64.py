"""aarch64: registers as gdb numbers them.

Source: GDB manual, "AArch64 Features"; DWARF numbers from "DWARF for the Arm
64-bit Architecture", section "DWARF register names".
"""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import Arch, Feature, Flags, Register, Union, Vector

CPSR = Flags(
    "cpsr_flags",
    4,
    (
        ("SP", 0),
        ("EL0", 2),
        ("EL1", 3),
        ("F", 6),
        ("I", 7),
        ("A", 8),
        ("D", 9),
        ("BTYPE0", 10),
        ("BTYPE1", 11),
        ("SSBS", 12),
        ("IL", 20),
        ("SS", 21),
        ("PAN", 22),
        ("UAO", 23),
        ("DIT", 24),
        ("TCO", 25),
        ("V", 28),
        ("C", 29),
        ("Z", 30),
        ("N", 31),
    ),
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
