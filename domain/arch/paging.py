"""How an architecture's page tables are declared.

Levels are counted from 1, the lowest table, whose entries are pages. A table's entries have
8 bytes each.
"""

import enum
from typing import Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..address_space import AddressSpace, ByteOrder
from ..vmcoreinfo import Vmcoreinfo

_ALL = (1 << 64) - 1


class EntryKind(enum.Enum):
    """What an entry of a page table says."""

    TABLE = "leads to a table of the next level"
    PAGE = "leads to a page"
    HIDDEN = "leads to a page that the hardware would not follow it to"
    SWAPPED = "its page was swapped out"
    ABSENT = "leads nowhere"


# Kind, physical address of the table or page, and the page's size in bytes.
Decoded = Tuple[EntryKind, int, int]

NOWHERE: Decoded = (EntryKind.ABSENT, 0, 0)
SWAPPED: Decoded = (EntryKind.SWAPPED, 0, 0)


class Window(NamedTuple):
    """Virtual addresses from `start` to before `end` that are mapped without page tables.

    `start` is at the physical address `physical`.
    """

    start: int
    end: int
    physical: int


def permissions_by(write: int, execute: int) -> Callable[[int, Sequence[int]], str]:
    """Return what tells permissions by two bits of the last entry, set where they are given."""

    def permissions(address: int, entries: Sequence[int]) -> str:
        last = entries[-1] if entries else write | execute
        return "r" + "w" * bool(last & write) + "x" * bool(last & execute)

    return permissions


class TableForm:
    """One configuration of page tables: how an address is cut, and what entries say.

    `widths` are the bits of an address that are an index into the table of each level, the lowest
    first; `decode` tells what an entry (value, level) says. Addresses have `bits` bits: those above
    are copies of the highest of them, or with `split` one of two tables has addresses with
    `prefixes[0]` above, the processes', and the other those with `prefixes[1]`: by default all
    clear and all set. Entries have `byte_order`, that of the machine if it is None. In a lowest
    table, the page of the next entry follows that of an entry in memory, with the same permissions,
    if the bits of `run_mask` differ by `run_step`. `windows` are mapped without tables.
    """

    def __init__(
        self,
        page_shift: int,
        widths: Tuple[int, ...],
        decode: Callable[[int, int], Decoded],
        *,
        run_mask: int,
        run_step: int,
        split: bool = False,
        bits: Optional[int] = None,
        windows: Tuple[Window, ...] = (),
        byte_order: Optional[ByteOrder] = None,
        prefixes: Optional[Tuple[int, int]] = None,
    ) -> None:
        self.page_shift = page_shift
        self.page_size = 1 << page_shift
        self.widths = widths
        self.decode = decode
        self.run_mask = run_mask
        self.run_step = run_step
        self.split = split
        self.bits = page_shift + sum(widths) if bits is None else bits
        self.windows = windows
        self.byte_order = byte_order
        self.prefixes = prefixes or (0, _ALL >> self.bits)

    @property
    def levels(self) -> int:
        """How many tables an address goes through."""
        return len(self.widths)

    def shift(self, level: int) -> int:
        """Return the lowest bit of an address that is an index into a table of `level`.

        An entry of it stands for 2 to the power of that many bytes.
        """
        return self.page_shift + sum(self.widths[: level - 1])

    @property
    def user_end(self) -> int:
        """The first address above those that a process can have."""
        return 1 << (self.bits if self.split else self.bits - 1)

    def covers(self, address: int, upper: bool) -> bool:
        """Whether the tables can map an address: with `split`, those of the upper half or not."""
        if not self.split:
            return (address + (1 << self.bits - 1)) & _ALL < 1 << self.bits
        return address >> self.bits == self.prefixes[upper]

    def window(self, address: int) -> Optional[Window]:
        """Return the window that an address is in."""
        for window in self.windows:
            if window.start <= address < window.end:
                return window
        return None


class KernelTables(NamedTuple):
    """A kernel's page tables: their form, and the physical address of the top one.

    `mapped_at` is the virtual address that must lead to the top table itself, which proves that
    it is the right one; None where there is no such proof.
    """

    form: TableForm
    root: int
    mapped_at: Optional[int] = None


# From VMCOREINFO and physical memory; None where they do not tell enough.
FindTables = Callable[[Vmcoreinfo, AddressSpace], Optional[KernelTables]]


class Paging(NamedTuple):
    """The page tables of an architecture.

    `find` finds the kernel's tables, `of_cpu` tells those that a CPU uses by its control
    registers, `form` makes a form of the page size in bytes and the bits of an address.
    `permissions` tells r, w and x for a virtual address from the entries that lead to
    it, the top one first. `split` is as in `TableForm`, for kernels whose form is not known.
    `page_size` is that of all kernels, 0 where each has its own.
    """

    find: FindTables
    form: Callable[[int, int], TableForm]
    permissions: Callable[[int, Sequence[int]], str]
    of_cpu: Optional[Callable[[Mapping[str, int]], Optional[KernelTables]]] = None
    split: bool = False
    page_size: int = 0


def at_physical(address: int, bits: int, alignment: int) -> Optional[int]:
    """Return a table's physical address, None for what cannot be one.

    `bits` is how many a physical address can have; `alignment` is in bytes.
    """
    return address if 0 <= address < 1 << bits and not address % alignment else None
