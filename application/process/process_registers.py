"""The user-mode registers of a process's threads, in the layout that fits the process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kdump_gdbserver.domain.arch import COMPAT
from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.sidecars import ProcessImage, ProcessThread

_USER_HALF = 1 << 63
# Segment bases, which notes of Linux and QEMU leave at 0 where they do not know them.
_BASES = ("fs_base", "gs_base")
# Which register is the thread pointer (glibc, sysdeps/*/nptl/tls.h).
_THREAD_POINTER = {
    "x86_64": "fs_base",
    "i386": "gs_base",
    "aarch64": "tpidr",
    "arm": "tpidr",
    "riscv64": "tp",
}
_FPSCR_BITS = 0xF7FFFFFF


def process_arch(kernel: Arch, image: ProcessImage) -> Arch:
    """Return the architecture that gdb is to see; raise `SidecarError` when there is none."""
    if image.mode != 32:
        return kernel
    if kernel.name not in COMPAT:
        raise SidecarError(
            f"{image.identity.source}: mode: 32-bit processes of {kernel.name} are not supported;"
            " choose a 64-bit process"
        )
    return COMPAT[kernel.name]


def is_user_mode(kernel: Arch, note: Mapping[str, int]) -> bool:
    """Whether a CPU note's registers are of user mode.

    Told by the privilege level in cs (x86) or the mode in cpsr (aarch64), else by the pc.
    """
    pc = note.get(kernel.pc)
    if pc is None or pc >= _USER_HALF:
        return False
    if kernel.name == "x86_64":
        return note.get("cs", 0) & 3 == 3
    if kernel.name == "aarch64":
        return note.get("cpsr", 1) & 0xF == 0
    return True


def user_registers(
    kernel: Arch, thread: ProcessThread, note: Mapping[str, int] | None
) -> dict[str, int]:
    """Return what is known of a thread's user-mode registers, by the kernel's names.

    `note` are the registers of the CPU that it ran on. In user mode they count; the
    floating-point registers then were in the CPU alone, and the saved ones are stale.
    """
    if note is None or not is_user_mode(kernel, note):
        return {**thread.registers, **thread.fpregs}
    bases = {name: value for name, value in thread.registers.items() if name in _BASES}
    pointer = _THREAD_POINTER.get(kernel.name, "")
    if pointer in thread.registers:
        bases.setdefault(pointer, thread.registers[pointer])
    known = {name: value for name, value in note.items() if value or name not in _BASES}
    return {**bases, **known}


def thread_pointer(arch: Arch, values: Mapping[str, int]) -> int | None:
    """Return the thread pointer among a thread's registers, None when it is not there."""
    return values.get(_THREAD_POINTER.get(arch.name, "")) or None


def choose_layout(arch: Arch, threads: Iterable[Mapping[str, int]]) -> RegisterLayout:
    """Return the layout with those optional features that some thread has values for.

    A feature whose registers extend another's comes with that one (gdb wants sse with avx).
    """
    names = {name for values in threads for name in values}
    wanted: list[str] = []
    for key, feature in reversed(list(arch.optional.items())):
        has_some = any(register.name in names for register in feature.registers)
        if has_some or (key == "sse" and "avx" in wanted):
            wanted.insert(0, key)
    return arch.layout(*wanted)


def in_layout(arch: Arch, layout: RegisterLayout, values: Mapping[str, int]) -> dict[str, int]:
    """Return a thread's registers by the layout's names, without those it does not have.

    The registers of a 32-bit process are the lower halves of the kernel's.
    """
    result: dict[str, int] = {}
    for name, value in values.items():
        slot = layout.by_name.get(name) or layout.by_name.get(arch.gdb_register(name))
        if slot is not None:
            result[slot.register.name] = value & ((1 << slot.register.bits) - 1)
    return result


def process_values(arch: Arch, values: Mapping[str, int]) -> Mapping[str, int]:
    """Return registers by names of the process's architecture, from the kernel's names.

    Only AArch32 needs more than other names: r13 and r14 are in x13 and x14, d0 to d31 in
    v0 to v15, fpscr in fpsr and fpcr (Arm ARM, D1.20.1 and G8.2).
    """
    if arch.name != "arm":
        return values
    same = ("pc", "cpsr", "tpidr", *(f"x{i}" for i in range(15)))
    result = {arch.gdb_register(name): values[name] for name in same if name in values}
    for i in range(16):
        vector = values.get(f"v{i}")
        if vector is not None:
            result[f"d{2 * i}"] = vector & ((1 << 64) - 1)
            result[f"d{2 * i + 1}"] = vector >> 64
    if "fpsr" in values and "fpcr" in values:
        result["fpscr"] = (values["fpsr"] | values["fpcr"]) & _FPSCR_BITS
    return result
