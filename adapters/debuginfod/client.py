"""Asks debuginfod servers for a vmlinux, and keeps it where debuginfod's own client does.

Source: debuginfod(8), "WEBAPI"; debuginfod_find_debuginfo(3), "ENVIRONMENT VARIABLES" and
"CACHE". So what gdb or another tool has got before is not got again, and the other way round.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from kdump_gdbserver.domain.symbol_files.sections import is_vmlinux_of
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux, WantedKernel

_BUILD_ID = re.compile(r"[0-9a-f]{4,128}")
_PIECE = 1 << 20
# Bytes; the largest vmlinux of a distribution has less than 1 GB.
MAX_SIZE = 4 << 30
# Seconds without a byte (debuginfod's own), and for all of it.
_TIMEOUT, MAX_TIME = 90.0, 3600.0

# Told: the server, how many bytes are there, and of how many, None where it does not say.
Progress = Callable[[str, int, int | None], None]


class _Response(Protocol):
    def read(self, count: int) -> bytes: ...


class Debuginfod:
    """The servers of $DEBUGINFOD_URLS; implements `ports.SymbolFinder`."""

    def __init__(
        self, files: HostFiles, environment: Mapping[str, str], progress: Progress
    ) -> None:
        self._files = files
        self._environment = environment
        self._progress = progress
        self.problem: str | None = None

    def find(self, kernel: WantedKernel) -> FoundVmlinux | None:
        """See `SymbolFinder.find`; a ctrl-C while it waits makes it give up, and is raised."""
        urls = self._environment.get("DEBUGINFOD_URLS", "").split()
        folder = self._cache()
        if not urls or folder is None or not _BUILD_ID.fullmatch(kernel.build_id):
            return None
        path = folder / kernel.build_id / "debuginfo"
        if self._is_proved(path, kernel):
            return FoundVmlinux(str(path), "kept from debuginfod")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                continue
            server = url.rstrip("/")
            try:
                if self._fetch(f"{server}/buildid/{kernel.build_id}/debuginfo", path, kernel):
                    return FoundVmlinux(str(path), f"from {server} by debuginfod")
            except (OSError, HTTPException, ValueError) as error:
                self.problem = f"{server}: {getattr(error, 'reason', None) or error}"
        return None

    def _cache(self) -> Path | None:
        given = self._environment.get("DEBUGINFOD_CACHE_PATH")
        if given:
            return Path(given)
        caches = self._environment.get("XDG_CACHE_HOME")
        if not caches:
            home = self._environment.get("HOME")
            caches = f"{home}/.cache" if home else None
        return Path(caches) / "debuginfod_client" if caches else None

    def _is_proved(self, path: Path, kernel: WantedKernel) -> bool:
        file = self._files.open(str(path.absolute()))
        if file is None:
            return False
        proved = is_vmlinux_of(file.read, file.size, kernel.build_id, kernel.machine)
        file.close()
        return proved

    def _fetch(self, url: str, path: Path, kernel: WantedKernel) -> bool:
        """Get a file whole, prove it, and only then put it in its place."""
        request = urllib.request.Request(url, headers={"User-Agent": "kdump-gdbserver"})
        with urllib.request.urlopen(
            request, timeout=self._number("DEBUGINFOD_TIMEOUT", _TIMEOUT)
        ) as got:
            told = got.headers.get("Content-Length") or ""
            total = int(told) if told.isdecimal() else None
            self._check_size(total or 0)
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(prefix="debuginfo.", dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    size = self._copy(got, file.write, url, total)
                if total is not None and size != total:
                    raise ValueError(f"sent {size} of {total} bytes")
                if not self._is_proved(Path(name), kernel):
                    raise ValueError(
                        "what it sent is not the vmlinux, with DWARF, of that build-id"
                    )
                Path(name).replace(path)
            finally:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
        return True

    def _copy(
        self, got: _Response, write: Callable[[bytes], int], url: str, total: int | None
    ) -> int:
        size, end = 0, time.monotonic() + self._number("DEBUGINFOD_MAXTIME", MAX_TIME)
        self._progress(url, 0, total)
        while piece := got.read(_PIECE):
            size += len(piece)
            self._check_size(size)
            if time.monotonic() > end:
                raise ValueError(f"took too long: {size} bytes so far")
            write(piece)
            self._progress(url, size, total)
        return size

    def _check_size(self, size: int) -> None:
        most = min(MAX_SIZE, self._number("DEBUGINFOD_MAXSIZE", MAX_SIZE))
        if size > most:
            raise ValueError(f"is longer than {most:.0f} bytes")

    def _number(self, name: str, default: float) -> float:
        """Return a limit of the environment; what is no positive number does not count."""
        try:
            value = float(self._environment.get(name, ""))
        except ValueError:
            return default
        return value if value > 0 else default
