"""What gdb is connected to: its memory, its architecture, the kernel in it."""

import re

import gdb

from ...domain.arch import ARCHITECTURES
from ...domain.arch.model import Arch
from ...domain.kernel.errors import KdumpError, Unreadable
from ...domain.kernel.kernel import Kernel
from ...domain.kernel.memory import Memory
from .symbols import GdbTypes

UNWIND_IMAGE = 0x6B64756D70000000  # where the server shows gdb unwind data for entry code


def read_target(address: int, size: int) -> bytes:
    """Read the target's memory through gdb."""
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.error, OverflowError, ValueError):
        raise Unreadable(address, size) from None


def architecture_name() -> str:
    """gdb's name for the target's architecture."""
    inferior = gdb.selected_inferior()
    if hasattr(inferior, "architecture"):  # gdb 9
        return str(inferior.architecture().name())
    return str(gdb.selected_frame().architecture().name())


def arch_of_gdb(name: str) -> Arch:
    """The architecture of that name among gdb's, or KdumpError if its tasks cannot be read."""
    known = {arch.gdb_name: arch for arch in ARCHITECTURES.values() if arch.task_state}
    if name not in known:
        names = ", ".join(sorted(known))
        raise KdumpError("architecture %s is not supported (%s are)" % (name, names))
    return known[name]


def byte_order() -> str:
    """The target's."""
    return "big" if "big endian" in gdb.execute("show endian", to_string=True) else "little"


def require_kernel() -> None:
    """Raise KdumpError if the server shows a process, in which there is no kernel memory."""
    try:
        text = gdb.execute("monitor info", to_string=True)
    except gdb.error:
        return  # another server
    if re.search("^shown +[0-9]+ threads? of process ", text, re.MULTILINE):
        raise KdumpError("the server shows a process, this is for the kernel: start it without -j")


def open_kernel() -> Kernel:
    """The kernel that gdb is connected to, or KdumpError."""
    if not gdb.selected_inferior().threads():
        raise KdumpError("no dump: connect first (`target remote HOST:PORT`)")
    require_kernel()
    arch = arch_of_gdb(architecture_name())
    return Kernel(GdbTypes(), Memory(read_target, byte_order(), clean=arch.clean_pointer), arch)
