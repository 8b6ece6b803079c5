"""HostFiles: files below one directory that the user named with `--sysroot`."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.ports.remote_files import RemoteFile


class HostFile(RemoteFile, Protocol):
    """A regular file of the host, with what its file system says of it."""

    @property
    def inode(self) -> int:
        """The inode number."""

    @property
    def modified(self) -> int:
        """When it was last modified, in whole seconds since the epoch."""


class HostFiles(Protocol):
    """Regular files below one directory, which stands for the dumped machine's root."""

    def open(self, path: str) -> HostFile | None:
        """Open the file that has an absolute path on the dumped machine.

        Returns None when there is no regular file that can be read. Symbolic links are
        followed as on that machine: nothing outside the directory is ever reached.
        """
