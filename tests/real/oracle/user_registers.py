"""Members of struct pt_regs, and what gdb calls these registers of a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_X86 = "ax bx cx dx si di bp sp ip".split()
_GDB_NAMES: dict[str, dict[str, str]] = {
    "x86_64": {
        **{name: f"r{name}" for name in _X86},
        **{f"r{n}": f"r{n}" for n in range(8, 16)},
        "orig_ax": "orig_rax", "flags": "eflags", "cs": "cs", "ss": "ss",
    },
    "i386": {
        **{name: f"e{name}" for name in _X86},
        "orig_ax": "orig_eax", "flags": "eflags", "cs": "cs", "ss": "ss",
    },
    "aarch64": {
        **{f"user_regs.regs[{n}]": f"x{n}" for n in range(31)},
        "user_regs.sp": "sp", "user_regs.pc": "pc", "user_regs.pstate": "cpsr",
    },
    "arm": {
        **{f"user_regs.regs[{n}]": f"r{n}" for n in range(13)},
        "user_regs.regs[13]": "sp", "user_regs.regs[14]": "lr",
        "user_regs.pc": "pc", "user_regs.pstate": "cpsr",
    },
    "riscv64": {
        **{name: name for name in ("ra", "sp", "gp", "tp")},
        **{f"{letter}{n}": f"{letter}{n}" for letter, most in (("a", 8), ("t", 7), ("s", 12))
           for n in range(most)},
        "s0": "fp", "epc": "pc",
    },
    "s390x": {
        **{f"gprs[{n}]": f"r{n}" for n in range(16)}, "psw.mask": "pswm", "psw.addr": "pswa",
    },
    "ppc64le": {
        **{f"gpr[{n}]": f"r{n}" for n in range(32)},
        "nip": "pc", "msr": "msr", "link": "lr", "ctr": "ctr", "xer": "xer", "ccr": "cr",
    },
}  # fmt: skip
BITS = {
    "eflags": 32, "cpsr": 32, "cs": 16, "ss": 16, "cr": 32, "xer": 32,
}  # fmt: skip
_COMPAT = {"x86_64": ("eax", "i386"), "aarch64": ("r0", "arm")}


def names_of(arch: str, registers: Iterable[str]) -> tuple[Mapping[str, str], int]:
    """gdb's name of each member, and the bits of a register; `registers` are those that gdb has."""
    mark, compat = _COMPAT.get(arch, ("", ""))
    if mark and mark in registers:
        return _GDB_NAMES[compat], 32
    return _GDB_NAMES[arch], 64
