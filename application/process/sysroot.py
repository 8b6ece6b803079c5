"""Pages and files from the directory that stands for the dumped machine's root.

A page of a mapped file that is not in the dump comes from the file, but only if the file is proved
to be the mapped one and the page is proved never to have been written.
"""

from __future__ import annotations

from dataclasses import dataclass

from kdump_gdbserver.application.process.elf_reader import (
    ElfImage,
    is_never_written,
    read_build_id,
    read_elf,
)
from kdump_gdbserver.application.process.mapped_files import Mappings, file_path, is_file
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma
from kdump_gdbserver.ports.host_files import HostFile, HostFiles
from kdump_gdbserver.ports.remote_files import RemoteFile

# Reasons for which a page that the process had is not in the dump.
_LEFT_OUT = frozenset({FaultReason.EXCLUDED, FaultReason.TRUNCATED})


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file of the sysroot that a mapping names; `problem` says why it is not to be used.

    `other` is true when it is proved to be another file than the mapped one.
    """

    file: HostFile | None
    image: ElfImage | None = None
    problem: str = ""
    other: bool = False


class Sysroot:
    """The files below a directory, checked against what a process has mapped.

    A file is the mapped one when its build-id is that in the process's memory. Where the two cannot
    be compared, the inodes decide: by size and time of modification, or else by the number, if
    there was no modification since the crash.
    """

    def __init__(
        self,
        files: HostFiles,
        mappings: Mappings,
        memory: AddressSpace,
        page_size: int,
        crash_time: int | None,
    ) -> None:
        """`memory` is the process's as the dump has it; `crash_time` is in seconds, if known."""
        self._page_size = page_size
        self._files = files
        self._mappings = mappings
        self._memory = memory
        self._crash_time = crash_time
        self._checked: dict[tuple[str, str, int], _Checked] = {}

    def supply(self, vma: Vma, address: int, length: int, fault: MemoryFault) -> bytes:
        """See `PageSource.supply`."""
        offset = vma.offset + address - vma.start
        checked = self._check(vma)
        problem = checked.problem or _problem(checked, vma, offset, fault.reason)
        if problem or checked.file is None:
            raise MemoryFault(address, fault.reason, problem) from None
        try:
            data = checked.file.read(offset, length)
        except OSError as error:
            detail = f"{vma.path} in the sysroot: {error.strerror}"
            raise MemoryFault(address, FaultReason.IO, detail) from None
        # The kernel fills the file's last page with zeros; there is nothing after it.
        page_end = -(-checked.file.size // self._page_size) * self._page_size
        length = min(length, page_end - offset)
        if length <= 0:
            raise MemoryFault(address, fault.reason, f"beyond the end of {vma.path}")
        return data.ljust(length, b"\0")

    def open(self, path: str) -> RemoteFile | None:
        """Open a file for a client; one that is not what the process mapped is not there."""
        file = self._files.open(path)
        if file is None:
            return None
        for vma in self._mappings:
            checked = self._check(vma) if is_file(vma) else None
            if checked and checked.other and checked.file and checked.file.inode == file.inode:
                file.close()
                return None
        return file

    def _check(self, vma: Vma) -> _Checked:
        # No lock is held: a file on a stalled disk would block clients whose files are checked
        # already. Two clients checking the same file does no harm.
        key = (vma.path, vma.dev, vma.inode)
        if key not in self._checked:
            self._checked.setdefault(key, self._compare(vma))
        return self._checked[key]

    def _compare(self, vma: Vma) -> _Checked:
        path = file_path(vma)
        file = self._files.open(path)
        if file is None:
            return _Checked(None, problem=f"the sysroot has no {path}")
        image = read_elf(file.read)
        ours = read_build_id(image, file.read) if image else None
        theirs = self._mappings.build_id(vma, self._memory.read)
        if ours and theirs:
            if ours == theirs:
                return _Checked(file, image)
            problem = f"{path} in the sysroot has build-id {ours}, the mapped file {theirs}"
            return _Checked(file, image, problem, other=True)
        return _Checked(file, image, self._other_inode(vma, path, file))

    def _other_inode(self, vma: Vma, path: str, file: HostFile) -> str:
        """Return why a file is not proved to be the mapped one by its inode, "" if it is."""
        if path != vma.path:
            return f"{path} was deleted, and has no build-id to compare"
        if vma.file_size is not None and vma.file_mtime is not None:
            if (vma.file_size, vma.file_mtime) == (file.size, file.modified):
                return ""
            return f"{path} in the sysroot has another size or time of modification"
        if vma.inode != file.inode:
            return f"{path} in the sysroot is not proved to be the mapped file (no build-id)"
        if self._crash_time is not None and file.modified > self._crash_time:
            return f"{path} in the sysroot was modified after the crash"
        return ""


def _problem(checked: _Checked, vma: Vma, offset: int, reason: FaultReason) -> str:
    """Return why the file's bytes may not be those the process had, "" when they are."""
    assert checked.file is not None
    shared = vma.perms[3:] == "s"
    if "w" in vma.perms and (shared or reason is not FaultReason.UNMAPPED):
        return f"page of {vma.path} that the process may have changed"
    if reason is FaultReason.UNMAPPED:
        return ""  # no page-table entry: never touched, so the file's page would have come
    if reason not in _LEFT_OUT:
        return f"page of {vma.path}"
    image, read = checked.image, checked.file.read
    if image is not None and not shared and not is_never_written(image, read, offset):
        return f"page of {vma.path} that the loader may have changed"
    return ""
