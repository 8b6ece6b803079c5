"""Checks of the files given on the command line."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from kdump_gdbserver.adapters.kdumpfile.formats.probe import open_file, read_header
from kdump_gdbserver.domain.arch import ARCHITECTURES, COMPAT, Arch
from kdump_gdbserver.domain.errors import DumpOpenError, InputError
from kdump_gdbserver.ports.symbol_file import SymbolFile

GIVE_VMLINUX = "give the vmlinux of the dumped kernel"
GIVE_EXECUTABLE = "with -j, give the process's executable"


def is_vmcore(path: str) -> bool:
    """Whether a file is a dump in one of the forms that can be opened."""
    try:
        file = open_file(path)
    except DumpOpenError:
        return False
    try:
        return read_header(path, file).form != "unknown"
    except DumpOpenError:
        return False
    finally:
        os.close(file)


# The largest VMCOREINFO taken; a kernel's own has 4 KiB.
MAX_VMCOREINFO = 1 << 20


def read_given(path: str, most: int) -> bytes:
    """Return what a file has, up to `most` bytes; raise `OSError` for what is not a regular file.

    A FIFO would keep us waiting, and a device may have no end.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"has more than {most >> 10} KiB")
        return os.read(file, most)
    finally:
        os.close(file)


def forbid_swapped(files: Sequence[str], vmlinux: str | None) -> None:
    """Raise `InputError` when a file given as a dump is none, and the one given as vmlinux is."""
    if vmlinux is None or not is_vmcore(vmlinux):
        return
    for file in files:
        if Path(file).is_file() and not is_vmcore(file):
            raise InputError(
                f"-f {file} is no vmcore and -v {vmlinux} is one: they are swapped; give"
                f" -f {vmlinux} -v {file}"
            )


def require_machine(file: SymbolFile, arch: Arch, advice: str) -> None:
    """Raise `InputError` when a symbol file is for another architecture."""
    if file.machine == arch.elf_machine:
        return
    known = (*ARCHITECTURES.values(), *COMPAT.values())
    names = {one.elf_machine: one.name for one in known}
    name = names.get(file.machine, f"ELF machine {file.machine}")
    raise InputError(f"{file.path}: is for {name}, not for {arch.name}; {advice}")
