"""Finding the kernel's VMCOREINFO in physical memory, for dumps that do not carry it.

The kernel keeps the text in a page of its own (vmcoreinfo_data, kernel/vmcore_info.c), whose
first line is OSRELEASE. Copies of other kernels' texts may lie about, so what is found is proved
before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.page_tables import PageTables
from kdump_gdbserver.domain.virtual_memory import VirtualMemory
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# How much memory is looked at, in bytes: 2 s of a plain ELF file that is in the page cache.
SEARCHED = 4 << 30
# How far apart the ends of one range may be: holes take time, too.
_LONGEST_RANGE = 1 << 38
# How many things that look like it are looked at.
_MAX_TRIES = 64
_FIRST_LINE = b"OSRELEASE="
_PAGE = 4096  # the smallest
_LONGEST = 1 << 16  # VMCOREINFO_BYTES is one page
_END = 1 << 64
_UTSNAME = 512  # bytes in which struct uts_namespace has its first strings
_SYSTEM = b"Linux\0"  # the first of them
_NAMES, _NAME = 6, 65  # strings, and bytes of each
_RELEASE = 2  # its place among them


class FoundVmcoreinfo(NamedTuple):
    """A VMCOREINFO, its text, and its physical address."""

    info: Vmcoreinfo
    text: bytes
    address: int


def find_vmcoreinfo(
    physical: AddressSpace, ranges: Iterable[tuple[int, int]], arch: Arch
) -> FoundVmcoreinfo | None:
    """Return the VMCOREINFO that lies in one of the `ranges` of physical addresses, if any.

    It is believed when the page tables that it tells map the top one of them where it says,
    and the kernel's name and release are where it says that init_uts_ns is. No more than
    `SEARCHED` bytes are looked at.
    """
    for tries, address in enumerate(_places(physical, ranges)):
        if tries >= _MAX_TRIES:
            break
        try:
            text = physical.read(address, _LONGEST).split(b"\0", 1)[0]
            info = Vmcoreinfo.parse(text)
            if read_utsname(info, physical, arch) is not None:
                return FoundVmcoreinfo(info, text, address)
        except (InputError, MemoryFault):
            continue
    return None


def _places(physical: AddressSpace, ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Iterate over the pages that begin as it does."""
    # Loaded for a search alone, which few dumps need before the server listens.
    from kdump_gdbserver.domain.symbols.memory_scan import readable_pieces

    left = SEARCHED
    for start, end in ranges:
        for base, data in readable_pieces(physical, start, min(end, start + _LONGEST_RANGE)):
            at = data.find(_FIRST_LINE)
            while at >= 0:
                if (base + at) % _PAGE == 0:
                    yield base + at
                at = data.find(_FIRST_LINE, at + 1)
            left -= len(data)
            if left <= 0:
                return


def read_utsname(info: Vmcoreinfo, physical: AddressSpace, arch: Arch) -> list[str] | None:
    """Return the fields of struct new_utsname that VMCOREINFO leads to in the kernel's memory.

    None when there is no such, or it is of another release: the kernel's page tables prove where it
    is. Source: include/uapi/linux/utsname.h, include/linux/utsname.h.
    """
    release, names = info.release, info.symbol("init_uts_ns")
    if arch.paging is None or not release or names is None:
        return None
    tables = arch.paging.find(info, physical)
    if tables is None or tables.mapped_at is None:
        return None
    walker = PageTables(tables.form, tables.root, physical, arch.byte_order)
    if walker.walk(tables.mapped_at).physical != tables.root:
        return None
    memory = VirtualMemory(physical, walker, arch.kernel_start, _END)
    try:
        raw = memory.read(names, _UTSNAME)
    except MemoryFault:
        return None
    at = raw.find(_SYSTEM)  # behind a count, in older kernels
    if at < 0:
        return None
    fields = [raw[at + _NAME * n :][:_NAME].split(b"\0", 1)[0] for n in range(_NAMES)]
    texts = [field.decode("utf-8", "replace") for field in fields]
    return texts if texts[_RELEASE] == release else None
