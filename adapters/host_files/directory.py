"""Opens files below a directory, never outside it, whatever paths and links say."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from pathlib import Path

from kdump_gdbserver.domain.errors import InputError

# As many as the kernel follows (path_resolution(7)).
_MAX_LINKS = 40
_FOLDER = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# A file may have become a FIFO since it was checked; O_NONBLOCK keeps open(2) from blocking.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# File systems that show this machine and its kernel (/proc/kcore is all of its memory): with
# `--sysroot /` they are below it, and are no part of what was dumped. See proc_pid_mountinfo(5).
_ABOUT_THIS_MACHINE = frozenset(
    "proc sysfs debugfs tracefs securityfs configfs cgroup cgroup2 bpf pstore efivarfs mqueue"
    " binfmt_misc fusectl nsfs".split()
)


class OpenFile:
    """A regular file that is open; implements `ports.HostFile`."""

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        """Take the descriptor over."""
        self._descriptor = descriptor
        self.size = status.st_size
        self.inode = status.st_ino
        self.modified = int(status.st_mtime)
        self._version = _version(status)
        # Clients may leave without closing what they opened.
        self.close = weakref.finalize(self, os.close, descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """See `RemoteFile.read`; a file that has changed since it was opened is an error."""
        if not self.close.alive:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if offset >= self.size:
            return b""
        data = os.pread(self._descriptor, count, offset)
        if _version(os.fstat(self._descriptor)) != self._version:
            raise OSError(errno.ESTALE, "has changed since it was opened")
        return data


class HostDirectory:
    """The files below one directory; implements `ports.HostFiles`.

    A path is walked one component at a time and the kernel follows no link, so neither `..` nor a
    link leads out of the directory, even if files change meanwhile.
    """

    def __init__(self, path: str) -> None:
        """Raise `InputError` when `path` is no directory."""
        try:
            # Nothing is listed, so that a process that may not read it can still go through it.
            self._root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{path}: {reason}; --sysroot takes the directory that stands for the dumped"
                " machine's /"
            ) from None
        weakref.finalize(self, os.close, self._root)
        self._forbidden = _devices_about_this_machine()

    def open(self, path: str) -> OpenFile | None:
        """See `HostFiles.open`."""
        try:
            return self._walk(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return None

    def _walk(self, path: str) -> OpenFile | None:
        todo = _parts(path)
        folders = [self._root]
        links = 0
        try:
            while todo:
                part = todo.pop()
                if part == "..":
                    if len(folders) > 1:
                        os.close(folders.pop())
                    continue
                target = _link_target(part, folders[-1])
                if target is not None:
                    links += 1
                    if links > _MAX_LINKS:
                        return None
                    todo += _parts(target)
                    if target.startswith("/"):
                        _close_down_to_one(folders)
                elif todo:
                    folders.append(os.open(part, _FOLDER | os.O_DIRECTORY, dir_fd=folders[-1]))
                else:
                    return self._open_regular(part, folders[-1])
            return None
        finally:
            _close_down_to_one(folders)

    def _open_regular(self, part: str, folder: int) -> OpenFile | None:
        # Checked before it is opened: opening a device or a FIFO can have side effects.
        if not self._is_allowed(os.stat(part, dir_fd=folder, follow_symlinks=False)):
            return None
        descriptor = os.open(part, _FILE, dir_fd=folder)
        status = os.fstat(descriptor)
        if self._is_allowed(status):
            return OpenFile(descriptor, status)
        os.close(descriptor)
        return None

    def _is_allowed(self, status: os.stat_result) -> bool:
        return stat.S_ISREG(status.st_mode) and status.st_dev not in self._forbidden


def _version(status: os.stat_result) -> tuple[int, int, int]:
    # Anyone who may write to a file can set its mtime back, but not its ctime.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _devices_about_this_machine() -> frozenset[int]:
    """Return the device numbers of the file systems that show this machine."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return frozenset()
    devices = set()
    for line in lines:
        mount, _, file_system = line.partition(" - ")
        if file_system.split(" ")[0] in _ABOUT_THIS_MACHINE:
            major, _, minor = mount.split(" ")[2].partition(":")
            devices.add(os.makedev(int(major), int(minor)))
    return frozenset(devices)


def _parts(path: str) -> list[str]:
    """Return the parts of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _link_target(part: str, folder: int) -> str | None:
    try:
        return os.readlink(part, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EINVAL:  # no link
            return None
        raise


def _close_down_to_one(folders: list[int]) -> None:
    while len(folders) > 1:
        os.close(folders.pop())
