"""The user-mode registers of a process's threads, in the layout that fits the process."""

from __future__ import annotations

from collections.abc import Mapping

from kdump_gdbserver.domain.arch import COMPAT
from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.sidecars import ProcessImage, ProcessThread


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


def user_registers(
    kernel: Arch, thread: ProcessThread, note: Mapping[str, int] | None
) -> dict[str, int]:
    """Return what is known of a thread's user-mode registers, by the kernel's names.

    `note` are the registers of the CPU that it ran on. If the CPU was in user mode they are the
    thread's, and the saved floating-point registers are stale.
    """
    if note is None or not kernel.is_user_mode(note):
        return {**thread.registers, **thread.fpregs}
    zero_if_unknown = kernel.process.zero_if_unknown
    kept = {
        name: value
        for name, value in thread.registers.items()
        if name in zero_if_unknown or name in kernel.process.thread_pointer.split()
    }
    known = {name: value for name, value in note.items() if value or name not in zero_if_unknown}
    return {**kept, **known}


def thread_pointer(arch: Arch, values: Mapping[str, int]) -> int | None:
    """Return the thread pointer among a thread's registers, None when it is not there."""
    parts = [values.get(name) for name in arch.process.thread_pointer.split()]
    pointer = 0
    for part in parts:
        if part is None:
            return None
        pointer = pointer << 8 * arch.pointer_size // len(parts) | part
    return pointer or None


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
    """Return registers by names of the process's architecture, from the kernel's names."""
    return values if arch.from_kernel is None else arch.from_kernel(values)
