"""Which CPU panicked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.kernel.errors import Unreadable
from kdump_gdbserver.domain.kernel.symbols import Symbols
from kdump_gdbserver.domain.text import printable

# The kernel keeps the CPU's number in the first (kernel/panic.c, since 4.5) and, on x86, in
# the second; -1 stands for none.
SYMBOLS = ("panic_cpu", "crashing_cpu")
# A log of plain text has level and time before its messages.
_BEGINNING = r"(?:<\d+>)?(?:\[ *\d+\.\d+\] )?"
_PANIC = re.compile(_BEGINNING + "Kernel panic - not syncing")
# The first line of dump_stack_print_info() (lib/dump_stack.c); with UID since 6.12.
_WHO = re.compile(_BEGINNING + r"CPU: (\d+) (?:UID: \d+ )?PID: (\d+) Comm: (.*)")
_COMM_SIZE = 15  # characters of a task's name
_WORDS_BEHIND = re.compile(r" (?:Kdump: loaded|Not tainted|Tainted: ).*")

# The log's messages, oldest first; raises InputError or MemoryFault where it cannot be read.
Log = Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class PanicCpu:
    """The CPU to show first, by its place in the list, and how it was found.

    `pid` is that of the task that panicked on it, where the log has it.
    """

    index: int
    reason: str
    pid: int | None = None


def find_panic_cpu(cpus: Sequence[Cpu], kernel: Symbols, log: Log) -> PanicCpu:
    """Return the CPU that panicked, by the kernel's own variables, else by its log.

    Failing both, it is the first CPU that was not idle: panic() was called by a running task.
    """
    by_number = {cpu.number: index for index, cpu in enumerate(cpus)}
    unknown = True
    for name in SYMBOLS:
        try:
            number = kernel.variable(name, 4)
        except Unreadable:
            continue
        unknown = unknown and number is None
        if number is not None and number in by_number:
            return PanicCpu(by_number[number], name)
    told = _by_log(log) if unknown else None
    if told is not None and told.cpu in by_number:
        index = by_number[told.cpu]
        if cpus[index].pid in (None, told.pid):
            return PanicCpu(index, f"the log: {told.words}", told.pid)
    for index, cpu in enumerate(cpus):
        if cpu.pid:
            return PanicCpu(index, "first CPU that was not idle")
    return PanicCpu(0, "first CPU")


@dataclass(frozen=True, slots=True)
class _Told:
    cpu: int
    pid: int
    words: str


def _by_log(log: Log) -> _Told | None:
    """Return the CPU and task that panicked, by the log.

    panic() prints them after its own message, or has left that to the oops before it, whose last
    such line then counts (kernel/panic.c). The CPU runs nothing else afterwards.
    """
    last: re.Match[str] | None = None
    panicked = False
    try:
        for text in log():
            if _PANIC.match(text):
                panicked = True
            elif match := _WHO.match(text):
                last = match
                if panicked:
                    break
    except (InputError, MemoryFault):
        return None
    if last is None or not panicked:
        return None
    cpu, pid = int(last[1]), int(last[2])
    name = printable(_WORDS_BEHIND.sub("", last[3])[:_COMM_SIZE])
    return _Told(cpu, pid, f"CPU: {cpu} PID: {pid} Comm: {name}")
