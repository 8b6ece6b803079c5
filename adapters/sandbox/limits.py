"""Limits that the kernel holds a process to (setrlimit(2))."""

from __future__ import annotations

import contextlib
import resource
from dataclasses import dataclass

# Addresses that the process may take, for all that it holds: some 100 MiB of them are code.
MAX_ADDRESS_SPACE = 4 << 30
# Bytes that it may write to one file; of the log, which may be there before, so many more.
MAX_FILE_SIZE = 1 << 30
# Time of all CPUs together that opening a dump may take, in seconds.
MAX_OPENING_CPU = 60


@dataclass(frozen=True)
class Budget:
    """What a process that opens a dump may take, in bytes, and in seconds of computing."""

    address_space: int = MAX_ADDRESS_SPACE
    file_size: int = MAX_FILE_SIZE
    opening_cpu: int = MAX_OPENING_CPU


def set_limits(budget: Budget) -> None:
    """Hold this process to a budget from now on, and have no core written of it."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, budget.address_space)
    _limit(resource.RLIMIT_FSIZE, budget.file_size)
    # Not the hard limit: `lift_cpu_limit` is for the time after opening.
    _limit(resource.RLIMIT_CPU, budget.opening_cpu, hard=False)


def lift_cpu_limit(pid: int) -> None:
    """Let a process that has opened its dump compute on; does nothing if it has ended."""
    with contextlib.suppress(OSError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_CPU)
        resource.prlimit(pid, resource.RLIMIT_CPU, (hard, hard))


def _limit(kind: int, most: int, *, hard: bool = True) -> None:
    """Lower a limit; one that is lower already stays."""
    soft, ceiling = resource.getrlimit(kind)
    most = min([most, *(limit for limit in (soft, ceiling) if limit != resource.RLIM_INFINITY)])
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (most, most if hard else ceiling))
