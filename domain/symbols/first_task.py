"""Finding `init_task` where no symbol tells where it is.

Kernels without CONFIG_KALLSYMS_ALL (Debian's arm64 6.1) have only functions in kallsyms. From
`init_task` on, the kernel's own lists lead to all other tasks.
"""

from __future__ import annotations

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.types import Types
from kdump_gdbserver.domain.symbols.memory_scan import readable_pieces

# The name of CPU 0's idle task: INIT_TASK_COMM; SMP kernels add the CPU's number when they boot.
_NAMES = (b"swapper\0", b"swapper/0\0")
_MARK = b"swapper"
_WORD = 8
# How many places with that text are examined.
_MAX_TRIES = 1000


def find_init_task(
    memory: AddressSpace, types: Types, byte_order: ByteOrder, start: int, end: int
) -> int | None:
    """Return the address of `init_task`, which lies between `start` and `end`; None if unsure.

    It is what has the idle task's name in `comm`, pid and tgid 0, itself for its parent and
    for the leader of its threads, and neighbours in the list of tasks that lead back to it.
    There must be one such place.
    """
    finder = _Finder(memory, types, byte_order)
    comm = types.member("struct task_struct", "comm")
    size = types.size("struct task_struct")
    if comm is None or size is None or not finder.complete:
        return None
    found = set()
    tries = 0
    for base, data in readable_pieces(memory, start, end, len(_NAMES[-1])):
        at = data.find(_MARK)
        while at >= 0:
            task = base + at - comm.offset
            if data.startswith(_NAMES, at) and task % _WORD == 0:
                tries += 1
                if tries > _MAX_TRIES:
                    return None
                if finder.is_init_task(task):
                    found.add(task)
            at = data.find(_MARK, at + 1)
    return found.pop() if len(found) == 1 else None


class _Finder:
    _NUMBERS = ("pid", "tgid")
    _POINTERS = ("real_parent", "parent", "group_leader")

    def __init__(self, memory: AddressSpace, types: Types, byte_order: ByteOrder) -> None:
        self._memory = memory
        self._byte_order: ByteOrder = byte_order
        self._at = {
            path: member.offset
            for path in (*self._NUMBERS, *self._POINTERS, "tasks.next", "tasks.prev")
            if (member := types.member("struct task_struct", path)) is not None
        }
        self.complete = len(self._at) == len(self._NUMBERS) + len(self._POINTERS) + 2

    def _read(self, address: int, size: int = _WORD) -> int:
        return self._memory.read_uint(address, size, self._byte_order)

    def is_init_task(self, task: int) -> bool:
        at = self._at
        following, previous = at["tasks.next"], at["tasks.prev"]
        node = task + following
        try:
            return (
                all(self._read(task + at[name], 4) == 0 for name in self._NUMBERS)
                and all(self._read(task + at[name]) == task for name in self._POINTERS)
                and self._read(self._read(task + following) - following + previous) == node
                and self._read(self._read(task + previous)) == node
            )
        except MemoryFault:
            return False
