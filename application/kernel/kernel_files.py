"""The files of the kernel's view: what stands for its program, and its mappings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kdump_gdbserver.application.made_file import MadeFile
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.symbols.writers.identity_file import identity_file
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.remote_files import RefusedError, RemoteFile

# What gdb calls the kernel when it has no vmlinux, or another kernel's.
KERNEL_FILE = "/kernel-of-the-vmcore"
_MOST_BUILD_ID = 64  # bytes; a linker's has 20
_MAPS = re.compile(r"/proc/1/(?:task/\d+/)?maps")
# Where debuggers look for a debug file: below each of their directories, here too.
_DEBUG_FILE = re.compile(r".*/\.build-id/([0-9a-f]{2})/([0-9a-f]+)\.debug")
# Only `gcore` asks for it (gdb/linux-tdep.c, linux_find_memory_regions_full).
_SMAPS = "/proc/1/smaps"
_NO_CORE_FILE = (
    "gcore is for processes (-j): a core file of the kernel would be all its memory once more;"
    " copy the vmcore, or save a range with gdb's dump binary memory FILE START END"
)


class KernelProgram(Protocol):
    """The file that a debugger gets for the kernel's program, made when first needed."""

    def open(self) -> RemoteFile:
        """Open the program; makes it if that has not been done."""

    def open_debug_file(self, build_id: str) -> RemoteFile | None:
        """Open the file with DWARF of that build-id, None where the server has none."""

    def describe(self) -> str:
        """Say in words what is served and what is missing in it; makes it if need be."""


class Identity:
    """A program of nothing but the kernel's build-id; implements `KernelProgram`."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self) -> RemoteFile:
        """See `KernelProgram.open`."""
        return MadeFile(self._content)

    def open_debug_file(self, build_id: str) -> RemoteFile | None:
        """See `KernelProgram.open_debug_file`."""
        return None

    def describe(self) -> str:
        """See `KernelProgram.describe`."""
        return "no symbols, only the kernel's build-id"


# Makes the program of the kernel in a dump, which begins at an address: None if not known.
MakeProgram = Callable[[DumpMemory, int | None], KernelProgram]


def identity(memory: DumpMemory, text: int | None = None) -> Identity:
    """Return the program that says which kernel it is and has no symbols."""
    dump = memory.dump
    arch = dump.facts.arch
    return Identity(identity_file(arch.elf_machine, arch.byte_order, _build_id(dump.vmcoreinfo)))


def _build_id(info: Vmcoreinfo) -> bytes:
    try:
        return bytes.fromhex(info.build_id or "")[:_MOST_BUILD_ID]
    except ValueError:
        return b""


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """The kernel's program, its mappings, and what keeps gdb from writing a core file.

    gdb would save the unwind image alone and say that all is well.
    """

    program: KernelProgram
    maps: bytes = b""

    def open(self, path: str) -> RemoteFile | None:
        """See `RemoteFiles.open`."""
        if path == _SMAPS:
            return _Refused()
        if path == KERNEL_FILE:
            return self.program.open()
        if debug_file := _DEBUG_FILE.fullmatch(path):
            return self.program.open_debug_file(debug_file[1] + debug_file[2])
        return MadeFile(self.maps) if _MAPS.fullmatch(path) else None

    def read_link(self, path: str) -> str | None:
        """See `RemoteFiles.read_link`."""
        return None


class _Refused:
    size = 0

    def read(self, offset: int, count: int) -> bytes:
        raise RefusedError(_NO_CORE_FILE)

    def close(self) -> None:
        pass
