"""Every architecture by one table: what gdb must find in its registers, and where."""

from __future__ import annotations

import re

import pytest

from kdump_gdbserver.domain.arch import ARCHITECTURES, COMPAT
from kdump_gdbserver.domain.arch.model import (
    Arch,
    Feature,
    Flags,
    Register,
    RegisterLayout,
    Union,
    Vector,
)

ALL: dict[str, Arch] = ARCHITECTURES | {arch.name: arch for arch in COMPAT.values()}

# Widths in bytes by the GDB manual, "Standard Target Features": (name pattern, count, size).
_GENERAL_X86 = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()
_RISCV = (
    "zero ra sp gp tp t0 t1 t2 fp s1 a0 a1 a2 a3 a4 a5 a6 a7 "
    "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6 pc"
).split()
_RISCV_FLOATS = (
    "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 "
    "fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11"
).split()
LAYOUTS: dict[str, list[tuple[str, int]]] = {
    "x86_64": [
        *((name, 8) for name in _GENERAL_X86),
        *((name, 4) for name in "eflags cs ss ds es fs gs".split()),
        *((f"st{i}", 10) for i in range(8)),
        *((name, 4) for name in "fctrl fstat ftag fiseg fioff foseg fooff fop".split()),
        ("orig_rax", 8),
        ("fs_base", 8),
        ("gs_base", 8),
        *((f"xmm{i}", 16) for i in range(16)),
        ("mxcsr", 4),
    ],
    "aarch64": [*((f"x{i}", 8) for i in range(31)), ("sp", 8), ("pc", 8), ("cpsr", 4)],
    "riscv64": [
        *((name, 8) for name in (*_RISCV, *_RISCV_FLOATS)),
        *((name, 4) for name in "fflags frm fcsr".split()),
    ],
    "ppc64le": [
        *((f"r{i}", 8) for i in range(32)),
        *(("pc", 8), ("msr", 8), ("cr", 4), ("lr", 8), ("ctr", 8), ("xer", 4)),
        *(("orig_r3", 8), ("trap", 8)),
    ],
    "s390x": [
        *(("pswm", 8), ("pswa", 8)),
        *((f"r{i}", 8) for i in range(16)),
        *((f"acr{i}", 4) for i in range(16)),
        ("fpc", 4),
        *((f"f{i}", 8) for i in range(16)),
        ("orig_r2", 8),
    ],
    "loongarch64": [*((f"r{i}", 8) for i in range(32)), ("orig_a0", 8), ("pc", 8), ("badv", 8)],
    "i386": [
        *((name, 4) for name in "eax ecx edx ebx esp ebp esi edi eip eflags".split()),
        *((name, 4) for name in "cs ss ds es fs gs".split()),
        *((f"st{i}", 10) for i in range(8)),
        *((name, 4) for name in "fctrl fstat ftag fiseg fioff foseg fooff fop".split()),
        ("orig_eax", 4),
    ],
    "arm": [*((f"r{i}", 4) for i in range(13)), ("sp", 4), ("lr", 4), ("pc", 4), ("cpsr", 4)],
}
POINTS = {  # registers, each with the byte offset that the manual's order gives it
    "x86_64": {"rip": 128, "eflags": 136, "cs": 140, "gs": 160, "st0": 164, "orig_rax": 276},
    "aarch64": {"x30": 240, "sp": 248, "pc": 256, "cpsr": 264},
    "riscv64": {"ra": 8, "sp": 16, "fp": 64, "t6": 248, "pc": 256, "ft0": 264, "fcsr": 528},
    "ppc64le": {"r1": 8, "pc": 256, "cr": 272, "lr": 276, "xer": 292, "orig_r3": 296},
    "s390x": {"pswa": 8, "r15": 136, "acr0": 144, "fpc": 208, "f0": 212, "orig_r2": 340},
    "loongarch64": {"r1": 8, "r3": 24, "r31": 248, "orig_a0": 256, "pc": 264, "badv": 272},
    "i386": {"esp": 16, "eip": 32, "eflags": 36, "st0": 64, "fctrl": 144, "orig_eax": 176},
    "arm": {"sp": 52, "pc": 60, "cpsr": 64},
}
DUMP_NAMES = {
    "x86_64": {"rflags": "eflags", "rip": "rip", "orig_ax": "orig_rax"},
    "aarch64": {"pstate": "cpsr", "lr": "x30", "x7": "x7"},
    "riscv64": {"epc": "pc", "s0": "fp", "x1": "ra", "x31": "t6", "f31": "ft11"},
    "ppc64le": {"nip": "pc", "link": "lr", "ccr": "cr", "r1": "r1"},
    "s390x": {"gpr15": "r15", "orig_gpr2": "orig_r2", "pswa": "pswa"},
    "loongarch64": {"era": "pc", "ra": "r1", "sp": "r3", "fp": "r22", "r4": "r4"},
    "i386": {"rax": "eax", "rip": "eip", "rsp": "esp", "orig_rax": "orig_eax", "cs": "cs"},
    "arm": {"x0": "r0", "x12": "r12", "x13": "sp", "x14": "lr", "pstate": "cpsr", "pc": "pc"},
}
OPTIONAL_SIZES = {
    "x86_64": {"avx": 16 * 16, "control": 5 * 8},
    "aarch64": {"fpu": 32 * 16 + 8, "tls": 8, "pauth": 16},
    "riscv64": {},
    "ppc64le": {},
    "s390x": {},
    "loongarch64": {"fpu": 32 * 8 + 8 * 1 + 4},
    "i386": {"sse": 8 * 16 + 4, "avx": 8 * 16},
    "arm": {"vfp": 32 * 8 + 4},
}
# GDB manual, "Predefined Target Types".
PREDEFINED = frozenset(
    "bool int8 int16 int32 int64 int128 uint8 uint16 uint32 uint64 uint128 code_ptr data_ptr "
    "ieee_half ieee_single ieee_double bfloat16 arm_fpa_ext i387_ext int float".split()
)
every_arch = pytest.mark.parametrize("arch", ALL.values(), ids=lambda arch: arch.name)


def every_layout(arch: Arch) -> list[RegisterLayout]:
    return [
        arch.layout(),
        *(arch.layout(name) for name in arch.optional),
        arch.layout(*arch.optional),
    ]


def test_the_table_has_a_row_for_every_architecture() -> None:
    for table in (LAYOUTS, POINTS, DUMP_NAMES, OPTIONAL_SIZES):
        assert set(table) == set(ALL)
    assert all(name == arch.name for name, arch in ARCHITECTURES.items())
    assert set(COMPAT) <= set(ARCHITECTURES)


@every_arch
def test_names_and_sizes_are_the_manuals(arch: Arch) -> None:
    slots = arch.layout().slots
    assert LAYOUTS[arch.name] == [(slot.register.name, slot.register.size) for slot in slots]


@every_arch
def test_offsets_are_the_sums_of_the_widths(arch: Arch) -> None:
    for layout in every_layout(arch):
        offset = 0
        for number, slot in enumerate(layout.slots):
            assert (number, offset) == (slot.number, slot.offset)
            assert slot.register.bits % 8 == 0
            offset += slot.register.size
        assert offset == layout.size
    for name, expected in POINTS[arch.name].items():
        assert expected == arch.layout().by_name[name].offset


@every_arch
def test_optional_features_come_after_all_others(arch: Arch) -> None:
    base = arch.layout()
    assert OPTIONAL_SIZES[arch.name] == {
        name: arch.layout(name).size - base.size for name in arch.optional
    }
    for layout in every_layout(arch):
        assert base.slots == layout.slots[: len(base.slots)]


@every_arch
def test_a_layout_is_made_once(arch: Arch) -> None:
    assert arch.layout() is arch.layout()
    with pytest.raises(KeyError):
        arch.layout("antigravity")


@every_arch
def test_dump_names_lead_to_registers_that_exist(arch: Arch) -> None:
    names = arch.layout(*arch.optional).by_name
    assert set(arch.dump_names.values()) <= set(names)
    for dumped, expected in DUMP_NAMES[arch.name].items():
        assert expected == arch.gdb_register(dumped)


@every_arch
def test_gdbs_own_names_stay(arch: Arch) -> None:
    for name in arch.layout(*arch.optional).by_name:
        # A name of gdb's must not be taken for the dump's name of another register.
        assert name == arch.gdb_register(name)


@every_arch
def test_pc_and_sp_are_pointers_with_their_roles(arch: Arch) -> None:
    registers = {slot.register.name: slot.register for slot in arch.layout().slots}
    pc, sp = registers[arch.pc], registers[arch.sp]
    assert ("code_ptr", "pc", 8 * arch.pointer_size) == (pc.type, pc.role, pc.bits)
    assert ("data_ptr", "sp", 8 * arch.pointer_size) == (sp.type, sp.role, sp.bits)


@every_arch
def test_roles_and_dwarf_numbers_are_given_once(arch: Arch) -> None:
    registers = [slot.register for slot in arch.layout(*arch.optional).slots]
    for mark in ("role", "dwarf"):
        given = [value for r in registers if (value := getattr(r, mark)) is not None]
        assert given
        assert len(given) == len(set(given))
    roles = {r.role for r in registers if r.role}
    assert all(re.fullmatch(r"pc|sp|fp|ra|flags|arg[1-8]", role) for role in roles)


@every_arch
def test_types_are_gdbs_or_defined_before_use(arch: Arch) -> None:
    for layout in every_layout(arch):
        for feature in layout.features:
            known = set(PREDEFINED)
            for definition in feature.types:
                if isinstance(definition, Vector):
                    assert definition.element in known
                if isinstance(definition, Union):
                    assert {kind for _, kind in definition.fields} <= known
                if isinstance(definition, Flags):
                    assert all(0 <= bit < 8 * definition.size for _, bit in definition.bits)
                known.add(definition.id)
            assert {register.type for register in feature.registers} <= known


@every_arch
def test_a_kernel_of_the_architecture_can_be_told_from_others(arch: Arch) -> None:
    assert (arch.prstatus is not None) == (arch.name in ARCHITECTURES)
    for other in ALL.values():
        if other is not arch:
            assert not set(arch.vmcoreinfo_marks) & set(other.vmcoreinfo_marks)
            assert arch.elf_machine != other.elf_machine
            assert arch.prstatus is None or arch.prstatus != other.prstatus
            each_size = ((each.byte_order, each.prstatus) for each in (arch, other))
            sizes = [(order, status.size) for order, status in each_size if status]
            assert len(set(sizes)) == len(sizes)
    assert (1 << 8 * arch.pointer_size) - 1 == arch.pointer_mask
    assert arch.triple.startswith({"ppc64le": "powerpc64le"}.get(arch.name, arch.name))


def test_two_registers_of_one_name_are_refused() -> None:
    twice = Feature("x", (Register("a", 64), Register("a", 32)))
    with pytest.raises(ValueError, match="same name"):
        RegisterLayout((twice,), "little")
