"""Hands the unwind image of the kernel's entry code to gdb, as a process hands over its vDSO.

gdb looks for AT_SYSINFO_EHDR in the auxiliary vector, for the mapping that starts there in
/proc/PID/task/TID/maps, and reads the ELF image from memory (gdb/linux-tdep.c,
linux_vsyscall_range; gdb/symfile-mem.c). It does so only if it has a program by then, and it
asks the server for one if it has none: so there is one, if only of the kernel's build-id.
With that gdb also compares the vmlinux that it has, and warns of another kernel's.
"""

from __future__ import annotations

import dataclasses

from kdump_gdbserver.application.kernel.entry_frames import entry_frames_image
from kdump_gdbserver.application.kernel.entry_unwind import NoUnwindDataError, entry_unwind_image
from kdump_gdbserver.application.kernel.kernel_files import (
    KERNEL_FILE,
    KernelFiles,
    KernelProgram,
)
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import OverlaidAddressSpace

_PAGE = 4096
_AT_NULL, _AT_SYSINFO_EHDR = 0, 33


def with_entry_code(view: View, survey: KernelSurvey, program: KernelProgram) -> View:
    """Return the view with the kernel's program and, if the dump yields one, the unwind image.

    Mappings it has in any case, if none at all: gdb else looks for a program's memory where
    its symbols and stack are, and `gcore` takes hours.
    """
    arch = view.arch
    view = dataclasses.replace(view, exec_file=KERNEL_FILE, files=KernelFiles(program))
    base, source = arch.spare_address, "the kernel's ORC tables"
    image = entry_frames_image(survey, base)
    if image is not None:
        source = "the code itself"
    else:
        try:
            all_registers = (cpu.registers for cpu in survey.cpus)
            user_pcs = [each[arch.pc] for each in all_registers if arch.is_user_mode(each)]
            image = entry_unwind_image(survey.memory, survey.symbols, arch, base, user_pcs)
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
