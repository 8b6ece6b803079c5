"""Shows gdb the unwind image of the kernel's entry code, as a process shows its vDSO.

gdb looks for AT_SYSINFO_EHDR in the auxiliary vector, for the mapping that starts there in
/proc/PID/task/TID/maps, and reads the ELF image from memory (gdb/linux-tdep.c,
linux_vsyscall_range; gdb/symfile-mem.c). It does so only if it has a program by then, and asks the
server for one if it has none, so the server has one that holds nothing but the kernel's build-id.
gdb also compares that with its vmlinux, and warns if that is another kernel's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from kdump_gdbserver.application.kernel.entry_frames import entry_frames_image
from kdump_gdbserver.application.kernel.entry_unwind import NoUnwindDataError, entry_unwind_image
from kdump_gdbserver.application.kernel.kernel_files import (
    KERNEL_FILE,
    KernelFiles,
    KernelProgram,
)
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.application.kernel.user_pcs import interrupted_pcs
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import OverlaidAddressSpace
from kdump_gdbserver.domain.arch.model import Arch

_PAGE = 4096
_AT_NULL, _AT_SYSINFO_EHDR = 0, 33


def with_entry_code(
    view: View, survey: KernelSurvey, program: KernelProgram, sleeping: Iterable[int] = ()
) -> View:
    """Return the view with the kernel's program and, if the dump yields one, the unwind image.

    `sleeping` are the stack pointers of tasks that no CPU ran.

    It has mappings in any case, even an empty list: gdb would otherwise look for a program's memory
    around its symbols and its stack, and `gcore` would take hours.
    """
    arch = view.arch
    view = dataclasses.replace(view, exec_file=KERNEL_FILE, files=KernelFiles(program))
    base, source = arch.spare_address, "the kernel's ORC tables"
    image = entry_frames_image(survey, base)
    if image is not None:
        source = "the code itself"
    else:
        try:
            pcs = list(_user_pcs(survey, arch, sleeping)) if arch.has_orc else []
            running = list(_running(survey, arch))
            image = entry_unwind_image(
                survey.memory, survey.symbols, arch, base, user_pcs=pcs, running=running
            )
        except NoUnwindDataError as reason:
            missing = f"none for entry code: {reason}" if str(reason) else ""
            return dataclasses.replace(view, unwind_data=missing)
    image = image.ljust(-(-len(image) // _PAGE) * _PAGE, b"\0")  # gdb reads whole pages
    words = (_AT_SYSINFO_EHDR, base, _AT_NULL, 0)
    end = base + len(image)
    line = f"{base:x}-{end:x} r-xp 00000000 00:00 0                  [kernel unwind data]\n"
    below = view.open_memory
    return dataclasses.replace(
        view,
        auxv=b"".join(word.to_bytes(arch.pointer_size, arch.byte_order) for word in words),
        files=KernelFiles(program, line.encode()),
        unwind_data=f"for entry code, by {source}",
        open_memory=lambda: OverlaidAddressSpace(below(), base, image),
    )


def _running(survey: KernelSurvey, arch: Arch) -> Iterator[tuple[int, int]]:
    """Yield pc and sp of the CPUs that were in the kernel."""
    for cpu in survey.cpus:
        if {arch.pc, arch.sp} <= cpu.registers.keys() and not arch.is_user_mode(cpu.registers):
            yield cpu.registers[arch.pc], cpu.registers[arch.sp]


def _user_pcs(survey: KernelSurvey, arch: Arch, sleeping: Iterable[int]) -> Iterator[int]:
    running = []
    for cpu in survey.cpus:
        if arch.is_user_mode(cpu.registers):
            yield cpu.registers[arch.pc]
        elif arch.sp in cpu.registers:
            running.append(cpu.registers[arch.sp])
    yield from interrupted_pcs(survey.memory, running, sleeping)
