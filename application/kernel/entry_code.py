"""Hands the unwind image of the kernel's entry code to gdb, as a process hands over its vDSO.

gdb looks for AT_SYSINFO_EHDR in the auxiliary vector, for the mapping that starts there in
/proc/PID/task/TID/maps, and reads the ELF image from memory (gdb/linux-tdep.c,
linux_vsyscall_range; gdb/symfile-mem.c).
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from kdump_gdbserver.application.kernel.entry_unwind import entry_unwind_image
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.application.made_file import MadeFile
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import OverlaidAddressSpace
from kdump_gdbserver.ports.remote_files import RefusedError, RemoteFile

# Not canonical with four or with five levels of page tables, so no x86_64 kernel can have
# anything there. The bytes spell "kdump".
IMAGE_BASE = 0x6B64_756D_7000_0000

_PAGE = 4096
_AT_NULL, _AT_SYSINFO_EHDR = 0, 33
_MAPS = re.compile(r"/proc/1/(?:task/\d+/)?maps")
# Only `gcore` asks for it (gdb/linux-tdep.c, linux_find_memory_regions_full).
_SMAPS = "/proc/1/smaps"
_NO_CORE_FILE = (
    "gcore is for processes (-j): a core file of the kernel would be all its memory once more;"
    " copy the vmcore, or save a range with gdb's dump binary memory FILE START END"
)


def with_entry_code(view: View, survey: KernelSurvey) -> View:
    """Return the view with the unwind image in it, if the dump yields one.

    Mappings it has in any case, if none at all: gdb else looks for a program's memory where
    its symbols and stack are, and `gcore` takes hours.
    """
    arch = view.arch
    image = entry_unwind_image(survey.memory, survey.symbols, arch, IMAGE_BASE)
    if image is None:
        return dataclasses.replace(view, files=_KernelFiles(b""))
    image = image.ljust(-(-len(image) // _PAGE) * _PAGE, b"\0")  # gdb reads whole pages
    words = (_AT_SYSINFO_EHDR, IMAGE_BASE, _AT_NULL, 0)
    end = IMAGE_BASE + len(image)
    line = f"{IMAGE_BASE:x}-{end:x} r-xp 00000000 00:00 0                  [kernel unwind data]\n"
    below = view.open_memory
    return dataclasses.replace(
        view,
        auxv=b"".join(word.to_bytes(arch.pointer_size, arch.byte_order) for word in words),
        files=_KernelFiles(line.encode()),
        open_memory=lambda: OverlaidAddressSpace(below(), IMAGE_BASE, image),
    )


@dataclass(frozen=True, slots=True)
class _KernelFiles:
    """The files of the kernel's inferior: its mappings, and what keeps gdb from a core file.

    gdb would save the unwind image alone and say that all is well.
    """

    maps: bytes

    def open(self, path: str) -> RemoteFile | None:
        if path == _SMAPS:
            return _Refused()
        return MadeFile(self.maps) if _MAPS.fullmatch(path) else None

    def read_link(self, path: str) -> str | None:
        return None


class _Refused:
    size = 0

    def read(self, offset: int, count: int) -> bytes:
        raise RefusedError(_NO_CORE_FILE)

    def close(self) -> None:
        pass
