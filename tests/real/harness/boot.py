"""Starting a guest and waiting until it is where its scenario wants it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import HarnessError
from .guest import FACTS_DISK_BYTES
from .kernels import Kernel
from .qemu import Qemu

TIMEOUT_S = 240


@contextlib.contextmanager
def booted(
    kernel: Kernel, scenario: str, work: Path, disks: Mapping[str, int], until: str
) -> Iterator[Qemu]:
    """A guest whose console has shown the regular expression `until`.

    Its initial file system is `work`/initrd; its first disk is the file `work`/facts, the others
    are `disks`, names in `work` with sizes in bytes, all empty at first. A guest that does not
    come so far is tried once more: where QEMU gets little CPU time, a boot now and then fails.
    """
    for attempt in (1, 2):
        paths = []
        for name, size in {"facts": FACTS_DISK_BYTES, **disks}.items():
            paths.append(work / name)
            with paths[-1].open("wb") as disk:
                disk.truncate(size)
        with Qemu(kernel.machine, scenario, kernel.image, work / "initrd", paths) as guest:
            try:
                guest.wait_for(until, TIMEOUT_S)
            except HarnessError:
                if attempt == 2:
                    raise
                continue
            yield guest
            return
