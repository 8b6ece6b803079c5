"""General registers out of QEMU's `info registers`, by gdb's names."""

from __future__ import annotations

import re
from collections.abc import Callable


def _x86_64(text: str) -> dict[str, int]:
    found = re.findall(r"\b(R[A-Z0-9]{1,2}) *=([0-9a-f]{16})", text)
    values = {name.lower(): int(value, 16) for name, value in found}
    values["eflags"] = int(re.findall(r"RFL=([0-9a-f]+)", text)[0], 16)
    for name, value in re.findall(r"\b([CDEFGS]S) =([0-9a-f]{4})", text):
        values[name.lower()] = int(value, 16)
    return values


def _aarch64(text: str) -> dict[str, int]:
    found = re.findall(r"\b(PC|SP|X\d\d)=([0-9a-f]{16})", text)
    values = {re.sub(r"^x0?", "x", name.lower()): int(value, 16) for name, value in found}
    values["cpsr"] = int(re.findall(r"PSTATE=([0-9a-f]+)", text)[0], 16)
    return values


def _riscv64(text: str) -> dict[str, int]:
    found = re.findall(r"\bx\d+/(\w+) +([0-9a-f]{16})", text)
    values = {"fp" if name == "s0" else name: int(value, 16) for name, value in found}
    values["pc"] = int(re.findall(r"\bpc +([0-9a-f]{16})", text)[0], 16)
    values.pop("zero", None)  # no register: it has no other value
    return values


def _s390x(text: str) -> dict[str, int]:
    values = {
        f"r{int(n)}": int(value, 16) for n, value in re.findall(r"R(\d\d)=([0-9a-f]{16})", text)
    }
    mask, address, code = re.findall(r"PSW=mask (\w+) addr (\w+) cc (\w+)", text)[0]
    # QEMU keeps the condition code apart; in the PSW it is bits 18 and 19 from the left.
    values["pswm"] = int(mask, 16) & ~(3 << 44) | int(code, 16) << 44
    values["pswa"] = int(address, 16)
    return values


def _ppc64le(text: str) -> dict[str, int]:
    values = {}
    for first, row in re.findall(r"GPR(\d\d)((?: [0-9a-f]{16}){4})", text):
        for index, value in enumerate(row.split()):
            values[f"r{int(first) + index}"] = int(value, 16)
    for name, gdb in (("NIP", "pc"), ("LR", "lr"), ("CTR", "ctr"), ("MSR", "msr"), ("CR", "cr")):
        values[gdb] = int(re.findall(rf"\b{name} +([0-9a-f]+)", text)[0], 16)
    return values


_READERS: dict[str, Callable[[str], dict[str, int]]] = {
    "x86_64": _x86_64,
    "aarch64": _aarch64,
    "riscv64": _riscv64,
    "s390x": _s390x,
    "ppc64le": _ppc64le,
}


def general_registers(arch: str, text: str) -> dict[str, int]:
    """Those of one CPU."""
    return _READERS[arch](text)
