"""Keeps contents as files, with a sum that tells a damaged one; the longest unused go."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

_MAGIC = b"kdump-gdbserver symbols 1\n"
_SUM_SIZE = 32
_NAME = re.compile(r"[0-9a-z][0-9a-z.-]{0,199}")
MAX_FILES = 16
MAX_BYTES = 512 << 20
# Bytes of one file; a kernel's symbols, types and unwind data take 14 MB.
MAX_CONTENT = 128 << 20
# What an interrupted run left half-written is removed after so many seconds.
_ABANDONED = 3600.0
_UNFINISHED = ".new-"


def _sum(content: bytes) -> bytes:
    import hashlib  # not before the server listens

    return hashlib.sha256(content).digest()


class SymbolCache:
    """Files of one directory that are this user's; implements `ports.SymbolStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls, environment: Mapping[str, str]) -> SymbolCache | None:
        """Return the one below $XDG_CACHE_HOME, or ~/.cache; None without a home."""
        caches = environment.get("XDG_CACHE_HOME")
        if not caches:
            home = environment.get("HOME")
            caches = f"{home}/.cache" if home else None
        return cls(Path(caches) / "kdump-gdbserver" / "symbols") if caches else None

    def load(self, name: str) -> bytes | None:
        """See `SymbolStore.load`; a file of another user's is not there."""
        if not _NAME.fullmatch(name):
            return None
        try:
            raw = self._read(self._folder / name)
        except OSError:
            return None
        start = len(_MAGIC) + _SUM_SIZE
        content = raw[start:]
        if raw[:start] != _MAGIC + _sum(content):
            return None
        with contextlib.suppress(OSError):
            os.utime(self._folder / name)  # it has been used
        return content

    def _read(self, path: Path) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            sound = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            return file.read(MAX_CONTENT) if sound and status.st_size <= MAX_CONTENT else b""

    def save(self, name: str, content: bytes) -> None:
        """See `SymbolStore.save`: the file is there whole or not at all."""
        if not _NAME.fullmatch(name) or len(content) > MAX_CONTENT - 128:
            return
        import tempfile

        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, temporary = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._folder)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(_MAGIC + _sum(content))
                    file.write(content)
                Path(temporary).replace(self._folder / name)
            finally:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
            self._make_room()
        except OSError:
            return

    def _make_room(self) -> None:
        """Remove the files that were unused the longest, until the rest is within the bounds."""
        found = []
        for path in self._folder.iterdir():
            status = path.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime, status.st_size, path))
        found.sort(reverse=True)
        newest = found[0][0] if found else 0.0
        count = size = 0
        for used, length, path in found:
            if path.name.startswith(_UNFINISHED):
                spare = newest - used < _ABANDONED
            else:
                count, size = count + 1, size + length
                spare = count <= MAX_FILES and size <= MAX_BYTES
            if not spare:
                with contextlib.suppress(OSError):
                    path.unlink()
