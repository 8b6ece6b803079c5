"""Comparisons of what the server says with what the oracle says, counted."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.real.oracle.server_side import Asked, cpu_of, task_of

_USER_END = 1 << 63
_EXAMPLES = 5


# What was asked for in vain: its count, address, length, and the bytes in hexadecimal.
Missing = tuple["Count", int, int, str]


@dataclass
class Count:
    """One check of one dump, form and mode.

    `equal` answers were the oracle's, `different` were not, with the first few in `examples`;
    `absent` could not be compared, for the reasons in `why`.
    """

    check: str
    oracle: str
    equal: int = 0
    different: int = 0
    absent: int = 0
    why: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def compare(self, what: str, got: object, expected: object) -> None:
        """Count one answer."""
        if got == expected:
            self.equal += 1
        else:
            self.differs(f"{what}: expected {_short(expected)}, got {_short(got)}")

    def differs(self, example: str) -> None:
        """Count one that is wrong."""
        self.different += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example)

    def lacks(self, why: str, number: int = 1) -> None:
        """Count what cannot be compared."""
        self.absent += number
        if number and why not in self.why:
            self.why.append(why)


def _short(value: object) -> str:
    text = f"{value:#x}" if isinstance(value, int) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def memory(
    asked: Asked, truth: Mapping[str, Sequence[Sequence[Any]]]
) -> tuple[list[Count], list[Missing]]:
    """Kernel memory by kind; and what the server had none of but the oracle does."""
    counts, missing = [], []
    for kind, samples in truth.items():
        count = Count(f"memory: {kind}", "drgn")
        counts.append(count)
        for address, length, expected in samples:
            got = asked.memory(address, length)
            if expected is None:
                # A shorter answer is one of the bytes before the hole.
                count.compare(f"{address:#x}", got is None or len(got) < 2 * length, True)
            elif got is None or (len(got) < len(expected) and expected.startswith(got)):
                missing.append((count, address, length, expected))
            else:
                count.compare(f"{address:#x}", got, expected)
    return counts, missing


def left_out(missing: Sequence[Missing], also: Sequence[str | None], *, filtered: bool) -> None:
    """Settle what the server had none of: is it in this form of the dump, by drgn's word?

    `also` is what drgn reads of this very form, "" where it cannot be asked. In a `filtered` ELF
    dump it takes pages that were left out for zeros.
    """
    for (count, address, _, expected), value in zip(missing, also, strict=True):
        if value is None:
            count.lacks("left out of this dump, says drgn too")
        elif filtered and not value.strip("0"):
            count.lacks("left out of this dump; drgn shows zeros")
        else:
            count.differs(f"{address:#x}: expected {expected}, got an error")


def user_memory(asked: Asked, process: Mapping[str, Any], count: Count) -> None:
    """Memory of a process."""
    for address, length, expected in process["memory"]:
        got = asked.memory(address, length)
        if expected is None:
            # Not in the dump: pages that were never touched may be known to be of a file, or
            # zero, which the oracle does not look for.
            count.lacks("drgn has no page there")
        elif got is None:
            count.differs(f"{address:#x}: expected {expected}, got an error")
        else:
            count.compare(f"{address:#x}", got, expected)


def cpu_registers(
    asked: Asked, threads: Mapping[int, str], truth: Mapping[str, Mapping[str, int] | str],
    oracle: str,
) -> Count:  # fmt: skip
    """General registers of every CPU; `truth` by CPU, by gdb's names or why there are none."""
    count = Count("registers of CPUs", oracle)
    shown = {cpu_of(said): tid for tid, said in threads.items()}
    for cpu, expected in truth.items():
        if isinstance(expected, str):
            count.lacks(f"drgn: {expected}")
            continue
        if cpu not in shown:
            count.differs(f"CPU {cpu}: no thread is shown")
            continue
        got = asked.registers(shown[cpu])
        for name, value in expected.items():
            if name in got:
                count.compare(f"CPU {cpu} {name}", got[name], value)
            else:
                count.differs(f"CPU {cpu} {name}: expected {value:#x}, not available")
    return count


def user_registers(  # noqa: PLR0917
    thread: int, got: Mapping[str, int], raw: Mapping[str, int],
    names: Mapping[str, str], width: int, bits: Mapping[str, int], count: Count,
) -> None:  # fmt: skip
    """A sleeping thread's registers; `raw` is its struct pt_regs, `names` gdb's of its members."""
    for member, name in names.items():
        if member not in raw:
            continue
        if name not in got:
            count.differs(f"thread {thread} {name}: not available")
            continue
        mask = (1 << bits.get(name, width)) - 1
        count.compare(f"thread {thread} {name}", got[name] & mask, raw[member] & mask)


def tasks(
    threads: Mapping[int, str], sidecar: Mapping[str, Any], truth: Sequence[Mapping[str, Any]]
) -> Count:
    """pid, tgid, parent, name and user of every task, by the sidecar and by the thread list."""
    count = Count("tasks", "drgn")
    saved = {
        task["tid"]: {**task, "comm": task["comm"].strip("[]")}
        for task in sidecar["threads"]
        if task["tid"]
    }
    said = {pid: (tgid, name) for tgid, pid, name in filter(None, map(task_of, threads.values()))}
    for task in truth:
        pid, got = task["pid"], saved.pop(task["pid"], None)
        if got is None:
            count.differs(f"task {pid} {task['comm']}: not listed")
            continue
        for ours, theirs in _TASK_FIELDS:
            if ours in got:
                count.compare(f"task {pid} {theirs}", got[ours], task[theirs])
        if pid in said:
            tgid, name = said[pid]
            count.compare(
                f"thread of {pid}", (tgid, name.strip("[]")), (task["tgid"], task["comm"])
            )
        else:
            count.differs(f"task {pid} {task['comm']}: no thread")
    for pid, task in saved.items():
        count.differs(f"task {pid} {task['comm']}: listed, but drgn has none")
    return count


_TASK_FIELDS = (("pid", "tgid"), ("ppid", "ppid"), ("comm", "comm"), ("uid", "uid"),
                ("state", "state"))  # fmt: skip


def chains(
    name: str, shown: Mapping[str, Mapping[str, Any]], truth: Mapping[str, Any],
    dead: Container[str] = (),
) -> Count:  # fmt: skip
    """Call chains: pc and name of every frame but inlined ones, and where they end.

    Both by one key. Frames of user mode count only where both have them. The stack of a `dead`
    task was given back, so that none may be shown.
    """
    count = Count(name, "drgn")
    for key, expected in truth.items():
        if isinstance(expected, str):
            count.lacks(f"drgn: {expected}")
            continue
        if key not in shown:
            count.differs(f"{key}: not shown")
            continue
        if key in dead and not shown[key]["frames"]:
            count.lacks("a dead task's stack is gone, and none is shown")
            continue
        _chain(count, key, shown[key], expected)
    return count


def _chain(count: Count, key: str, got: Mapping[str, Any], expected: Sequence[Any]) -> None:
    ours, ours_user = _parted(got["frames"])
    theirs, theirs_user = _parted(expected)
    if got["corrupt"]:
        count.differs(f"{key}: gdb stops with {got['corrupt']!r} after {_names(ours)}")
    elif any(name is None for _, name in ours):
        count.differs(f"{key}: a frame without a name: {_names(ours)}")
    elif [pc for pc, _ in ours] != [pc for pc, _ in theirs]:
        at = next(
            (
                at
                for at, pair in enumerate(zip(ours, theirs, strict=False))
                if pair[0][0] != pair[1][0]
            ),
            min(len(ours), len(theirs)),
        )
        expected_here, here = (_names(chain[at : at + 3]) for chain in (theirs, ours))
        count.differs(f"{key}: expected in frame {at} {expected_here}, got {here}")
    elif ours_user and ours_user[0][0] != theirs_user[0][0] if theirs_user else ours_user:
        count.differs(f"{key}: user frame at {ours_user[0][0]:#x} is not drgn's")
    else:
        count.equal += 1


def _parted(frames: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The kernel's frames, and those of user mode behind them."""
    for at, (pc, _) in enumerate(frames):
        if pc < _USER_END:
            return list(frames[:at]), list(frames[at:])
    return list(frames), []


def _names(frames: Sequence[Any]) -> str:
    return " < ".join(f"{name or '??'} {pc:#x}" for pc, name in frames[-6:])


def variables(shown: Mapping[str, Sequence[Any]], truth: Mapping[str, Sequence[Any]]) -> Count:
    """Address and value of global variables, in gdb."""
    count = Count("globals", "drgn")
    for name, (address, _, value) in truth.items():
        got = shown.get(name, [None, "not asked"])
        count.compare(f"{name} is at", got[0], address)
        count.compare(f"{name} holds", got[1], value)
    return count
