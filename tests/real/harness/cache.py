"""Where the harness keeps what it downloads and makes, and how callers share it safely."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

GRACE_S = 3600


def cache_root() -> Path:
    """The harness's folder in the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    root = Path(base) / "kdump-gdbserver"
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`: two test runs must not build one thing at once.

    The kernel drops the lock when its holder dies, so a killed run leaves nothing behind.
    """
    locks = cache_root() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(files: Iterable[Path], *words: str) -> str:
    """A short hash of the files' names and contents and of `words`, for use as a cache key."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for word in words:
        total.update(word.encode() + b"\0")
    return total.hexdigest()[:16]


@contextlib.contextmanager
def published(final: Path) -> Iterator[Path]:
    """A scratch folder that becomes `final` in one step, only if the block succeeds.

    So a folder that exists is always complete. The scratch folder of a failed block is removed.
    """
    scratch = final.with_name(f"{final.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        shutil.rmtree(final, ignore_errors=True)
        scratch.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def used(folder: Path) -> Path:
    """Note that `folder` is in use and return it; remove the products of older keys beside it.

    Those that somebody used within the last hour stay: a test run of another version may still
    have them open.
    """
    os.utime(folder)
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - other.stat().st_mtime > GRACE_S:
                    shutil.rmtree(other, ignore_errors=True)
    return folder
