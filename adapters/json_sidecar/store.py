"""JsonSidecarStore: the `SidecarStore` port on JSON files."""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.sidecars import KernelTasks, ProcessImage


class JsonSidecarStore:
    """Sidecars as JSON files. See `ports.sidecar_store.SidecarStore`.

    What decodes JSON is loaded at the first read only: a server without a sidecar
    starts without it.
    """

    def read_kernel_tasks(self, path: str, arch: Arch) -> KernelTasks:
        """See `SidecarStore.read_kernel_tasks`."""
        from kdump_gdbserver.adapters.json_sidecar import read

        return read.read_kernel_tasks(path, arch)

    def read_process(self, path: str, arch: Arch) -> ProcessImage:
        """See `SidecarStore.read_process`."""
        from kdump_gdbserver.adapters.json_sidecar import read

        return read.read_process(path, arch)

    def write_kernel_tasks(self, path: str, tasks: KernelTasks) -> None:
        """See `SidecarStore.write_kernel_tasks`."""
        from kdump_gdbserver.adapters.json_sidecar import write

        write.write_kernel_tasks(path, tasks)

    def write_process(self, path: str, image: ProcessImage) -> None:
        """See `SidecarStore.write_process`."""
        from kdump_gdbserver.adapters.json_sidecar import write

        write.write_process(path, image)
