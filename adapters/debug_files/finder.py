"""Looks for a vmlinux by build-id, then by release, then beside the dump."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kdump_gdbserver.domain.symbol_files.sections import is_vmlinux_of
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux, WantedKernel

_BUILD_ID = re.compile(r"[0-9a-f]{4,128}")
# The dump says what the release is; whatever it says, no path leads elsewhere.
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
_BY_BUILD_ID = "/usr/lib/debug/.build-id"
# Debian, SUSE; Fedora, RHEL; SUSE with a merged /usr; a kernel of one's own.
_BY_RELEASE = (
    "/usr/lib/debug/boot/vmlinux-{0}",
    "/usr/lib/debug/boot/vmlinux-{0}.debug",
    "/usr/lib/debug/lib/modules/{0}/vmlinux",
    "/usr/lib/debug/usr/lib/modules/{0}/vmlinux",
    "/usr/lib/debug/usr/lib/modules/{0}/vmlinux.debug",
    "/lib/modules/{0}/build/vmlinux",
    "/lib/modules/{0}/vmlinux",
    "/boot/vmlinux-{0}",
)
_BESIDE = ("vmlinux", "vmlinux.debug")
_BESIDE_BY_RELEASE = ("vmlinux-{0}", "vmlinux-{0}.debug")


class DebugFiles:
    """The files of this machine; implements `ports.SymbolFinder`."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def find(self, kernel: WantedKernel) -> FoundVmlinux | None:
        """See `SymbolFinder.find`: what is taken has the build-id, and DWARF."""
        if not _BUILD_ID.fullmatch(kernel.build_id):
            return None
        for path, how in self._candidates(kernel):
            file = self._files.open(path)
            if file is None:
                continue
            proved = is_vmlinux_of(file.read, file.size, kernel.build_id, kernel.machine)
            file.close()
            if proved:
                return FoundVmlinux(path, how)
        return None

    def _candidates(self, kernel: WantedKernel) -> Iterator[tuple[str, str]]:
        build_id = kernel.build_id
        yield f"{_BY_BUILD_ID}/{build_id[:2]}/{build_id[2:]}.debug", "found by build-id"
        release = kernel.release or ""
        named = bool(_RELEASE.fullmatch(release))
        if named:
            for form in _BY_RELEASE:
                yield form.format(release), "found by release"
        names = [*_BESIDE, *(form.format(release) for form in _BESIDE_BY_RELEASE if named)]
        folders = {Path(path).absolute().parent: "found beside the dump" for path in kernel.beside}
        folders.setdefault(Path.cwd(), "found in the working directory")
        for folder, how in folders.items():
            for name in names:
                yield str(folder / name), how
