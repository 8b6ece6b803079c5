"""Bytes of a process's own memory."""

from ...address_space import AddressSpace
from ...errors import FaultReason, MemoryFault
from ...page_tables import PageTables
from ...virtual_memory import VirtualMemory
from ..errors import Unreadable
from ..kernel import Kernel
from ..memory import Memory


class UserMemory:
    """A process's own memory, read through its page tables; gdb sees the kernel's only."""

    def __init__(self, kernel: Kernel, pgd: int) -> None:
        self._space = None
        tables = kernel.task_state.user_tables(pgd)
        if tables is not None:
            physical = _DirectMapping(kernel.memory, tables.direct)
            root = (pgd - tables.direct) % 2**64
            walker = PageTables(tables.form, root, physical, kernel.memory.byte_order, upper=False)
            self._space = VirtualMemory(physical, walker, 0, tables.form.user_end)

    def fetch(self, address: int, size: int) -> bytes:
        """Return `size` bytes.

        Raises Unreadable where a page is not in memory, or not in the dump.
        """
        try:
            if self._space is not None:
                return self._space.read_exact(address, size)
        except MemoryFault:
            pass
        raise Unreadable(address, size)


class _DirectMapping(AddressSpace):
    """Physical memory, at the addresses where the kernel maps all of it."""

    def __init__(self, memory: Memory, start: int) -> None:
        self._memory = memory
        self._start = start

    def read(self, address: int, length: int) -> bytes:
        """See AddressSpace.read(); all that is asked for, or a fault at its first byte."""
        try:
            return self._memory.fetch(self._start + address, length)
        except Unreadable:
            raise MemoryFault(address, FaultReason.EXCLUDED) from None
