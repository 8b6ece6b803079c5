"""Thread, ThreadId and ThreadTable: what gdb lists with `info threads`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kdump_gdbserver.domain.registers import RegisterSet


class ThreadId(NamedTuple):
    """The pair gdb calls `Thread PID.TID` (GDB manual, "Packets", thread-id syntax).

    `pid` is the number of the inferior as gdb sees it (1 for the kernel), `tid` the
    number of the thread in it. Both are positive.
    """

    pid: int
    tid: int


class Thread:
    """One thread of the view: a CPU, a kernel task, or a thread of a process.

    `extra` is the text that gdb prints in brackets after the id, `name` a short
    name of its own, `core` the CPU it was running on at the crash (None: none).
    `handle` are the bytes by which programs know the thread (a task_struct's address, a
    pthread_t), in the machine's byte order. `siginfo` is the signal it was about to get, as
    a siginfo_t of its architecture (None: none, or not known).
    Registers are made by `load` when first asked for, so that a view with ten
    thousand threads costs nothing for those nobody looks at.
    """

    __slots__ = ("_load", "_registers", "core", "extra", "handle", "id", "name", "siginfo")

    def __init__(
        self,
        id: ThreadId,
        load: Callable[[], RegisterSet],
        *,
        extra: str = "",
        name: str | None = None,
        core: int | None = None,
        handle: bytes | None = None,
        siginfo: bytes | None = None,
    ) -> None:
        self.id = id
        self.handle = handle
        self.siginfo = siginfo
        self.extra = extra
        self.name = name
        self.core = core
        self._load = load
        self._registers: RegisterSet | None = None

    @property
    def registers(self) -> RegisterSet:
        """The registers, unavailable ones included as such."""
        if self._registers is None:
            self._registers = self._load()
        return self._registers

    def __repr__(self) -> str:
        return f"Thread({self.id.pid}.{self.id.tid} ({self.extra}))"


class ThreadTable:
    """The threads of a view in gdb's order, with look-up by id in constant time.

    Raises `ValueError` when there is no thread, or two with one id.
    """

    def __init__(self, threads: Iterable[Thread]) -> None:
        self._ordered = tuple(threads)
        self._by_tid = {thread.id.tid: thread for thread in self._ordered}
        if not self._ordered:
            raise ValueError("a view needs at least one thread")
        if len(self._by_tid) != len(self._ordered):
            raise ValueError("two threads have the same id")

    def __iter__(self) -> Iterator[Thread]:
        return iter(self._ordered)

    def __len__(self) -> int:
        return len(self._ordered)

    def __getitem__(self, index: int) -> Thread:
        return self._ordered[index]

    def by_tid(self, tid: int) -> Thread | None:
        """Return the thread with that tid, or None."""
        return self._by_tid.get(tid)
