"""Bytes of a process's own memory."""

from ..errors import Unreadable
from ..kernel import Kernel


class UserMemory:
    """A process's own memory, read through its page tables; gdb sees the kernel's only."""

    def __init__(self, kernel: Kernel, pgd: int) -> None:
        self.memory = kernel.memory
        self.pgd = pgd
        self.tables = kernel.arch.page_tables(pgd)

    def fetch(self, address: int, size: int) -> bytes:
        """Unreadable where a page is not in memory, or not in the dump."""
        if self.tables is None:
            raise Unreadable(address, size)
        data = b""
        while len(data) < size:
            at = address + len(data)
            page, page_size = self.tables.page(self.pgd, at)
            inside = at % page_size
            data += self.memory.fetch(page + inside, min(size - len(data), page_size - inside))
        return data
