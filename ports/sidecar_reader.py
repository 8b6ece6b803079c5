"""SidecarReader: reads tasks and processes that were collected beforehand."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.sidecars import KernelTasks, ProcessImage


class SidecarReader(Protocol):
    """Reads sidecars; every failure is a `SidecarError` of one line.

    `arch` is the dump's: register names and values are checked against it, and a sidecar of another
    architecture is refused. `domain.sidecars.check_identity` checks that it is of the same dump.
    """

    def read_kernel_tasks(self, path: str, arch: Arch) -> KernelTasks:
        """Read the tasks of a kernel."""

    def read_process(self, path: str, arch: Arch) -> ProcessImage:
        """Read one process."""
