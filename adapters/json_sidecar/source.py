"""Where a sidecar comes from: the file, its kind, and how to complain of it."""

from __future__ import annotations

import enum
import stat
from pathlib import Path

from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.text import printable

MAX_SIDECAR_BYTES = 256 << 20
"""Largest file that is read: some 400,000 tasks. Anything above is not a sidecar."""

FORMAT_VERSION = 1
"""The newest version read."""


class Kind(enum.Enum):
    """The kinds of sidecar, by the value of their `format` field."""

    KERNEL = "kdump-gdbserver kernel tasks"
    PROCESS = "kdump-gdbserver process"

    @property
    def holds(self) -> str:
        """What is in it, in words."""
        return "kernel tasks" if self is Kind.KERNEL else "a process"

    @property
    def option(self) -> str:
        """The server's option that takes it."""
        return "-k" if self is Kind.KERNEL else "-j"

    @property
    def command(self) -> str:
        """The gdb command that writes it."""
        if self is Kind.KERNEL:
            return "kdump-save-kernel-json FILE"
        return "kdump-save-process-json FILE PID"


class Source:
    """One sidecar file that is to be of one kind."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.path = path
        self.kind = kind

    @property
    def name(self) -> str:
        """The path, fit to print."""
        return printable(self.path)

    def error(self, field: str, problem: str, advice: str | None = None) -> SidecarError:
        """Make the error for `field` ("" for the whole file); says what to do next."""
        advice = advice or f"write it anew with the gdb command {self.kind.command}"
        where = f"{self.path}: {field}" if field else self.path
        return SidecarError(printable(f"{where}: {problem}; {advice}"))

    def load(self) -> bytes:
        """Return the file's bytes."""
        try:
            path = Path(self.path)
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise self.error("", "is a directory", "name the sidecar file in it")
            if not stat.S_ISREG(status.st_mode):
                raise self.error("", "is not a regular file", "save it as a file first")
            with path.open("rb") as file:
                raw = file.read(MAX_SIDECAR_BYTES + 1)
        except (OSError, ValueError) as failure:
            raise self._unreadable(failure) from None
        if len(raw) > MAX_SIDECAR_BYTES:
            limit = f"is larger than {MAX_SIDECAR_BYTES >> 20} MiB, so it is no sidecar"
            raise self.error("", limit, f"check which file is given with {self.kind.option}")
        return raw

    def _unreadable(self, failure: OSError | ValueError) -> SidecarError:
        if isinstance(failure, FileNotFoundError):
            advice = f"make it with the gdb command {self.kind.command}"
            return self.error("", "no such file", advice)
        reason = failure.strerror if isinstance(failure, OSError) else str(failure)
        return self.error("", f"cannot be read ({reason})", "check the path and its permissions")
