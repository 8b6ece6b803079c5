"""Writes initial RAM file systems: the "newc" cpio format of the kernel's early user space.

Format: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source. Written
here rather than by cpio(1), because device nodes can then be made without root.
"""

from __future__ import annotations

import stat
from pathlib import Path

_ALIGNMENT = 4


class Initramfs:
    """A file tree in memory, to be written as one uncompressed cpio archive."""

    def __init__(self) -> None:
        """Start with what init needs before it has mounted anything."""
        self._entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
        for folder in ("dev", "proc", "sys", "run", "tmp", "bin", "etc", "lib"):
            self.folder(folder)
        self._add("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1))
        self._add("dev/null", stat.S_IFCHR | 0o666, b"", (1, 3))

    def folder(self, path: str) -> None:
        """Add the folder `path` and those above it."""
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            self._entries.setdefault("/".join(parts[:depth]), (stat.S_IFDIR | 0o755, b"", (0, 0)))

    def text(self, path: str, content: str, mode: int = 0o755) -> None:
        """Add a file with `content` at `path`."""
        self._add(path, stat.S_IFREG | mode, content.encode())

    def file(self, source: Path, path: str, mode: int = 0o755) -> None:
        """Add the contents of `source` (links followed) at `path`."""
        self._add(path, stat.S_IFREG | mode, source.read_bytes())

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link at `path`."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def tree(self, root: Path) -> None:
        """Add every file and link below `root`, at its path relative to `root`."""
        for source in sorted(root.rglob("*")):
            path = str(source.relative_to(root))
            if source.is_symlink():
                self.link(path, str(source.readlink()))
            elif source.is_file():
                self.file(source, path)

    def _add(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        path = path.lstrip("/")
        if "/" in path:
            self.folder(path.rpartition("/")[0])
        self._entries[path] = (mode, data, device)

    def write(self, target: Path) -> None:
        """Write the archive to the file `target`."""
        with target.open("wb") as out:
            entries = [*self._entries.items(), ("TRAILER!!!", (0, b"", (0, 0)))]
            for inode, (path, (mode, data, device)) in enumerate(entries, start=1):
                name = path.encode() + b"\0"
                fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
                header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
                out.write(header + b"\0" * (-len(header) % _ALIGNMENT))
                out.write(data + b"\0" * (-len(data) % _ALIGNMENT))
