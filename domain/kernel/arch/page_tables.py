"""From a process's addresses to the kernel's."""

from typing import Callable, List, Optional, Tuple

from ..errors import Unreadable
from ..memory import Memory


class PageTables:
    """A process's page tables, walked through the kernel's direct mapping of all memory.

    `direct` is what to add to a physical address to get the kernel's; `shifts` are the lowest
    address bits that the tables of each level look at, the top level first; `bits` is how many the
    top table looks at, the others at those up to the level above; `decode(entry, shift)` returns
    None or (is it a page, physical address).
    """

    def __init__(
        self,
        memory: Memory,
        direct: int,
        shifts: List[int],
        decode: Callable[[int, int], Optional[Tuple[bool, int]]],
        bits: int = 9,
    ) -> None:
        self.memory = memory
        self.direct = direct
        self.shifts = shifts
        self.decode = decode
        self.bits = bits

    def page(self, table: int, address: int) -> Tuple[int, int]:
        """(kernel address of the page, its size) that holds a user address; Unreadable."""
        above = self.shifts[0] + self.bits
        for shift in self.shifts:
            index = address >> shift & (1 << above - shift) - 1
            above = shift
            found = self.decode(self.memory.integer(table + 8 * index, 8), shift)
            if found is None:
                break
            is_page, physical = found
            if is_page:
                return (self.direct + (physical >> shift << shift)) % 2**64, 1 << shift
            table = (self.direct + physical) % 2**64
        raise Unreadable(address, 1)
