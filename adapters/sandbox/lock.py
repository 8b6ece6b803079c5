"""Giving everything up at once, and saying what of that the kernel can do."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from kdump_gdbserver.adapters.sandbox import landlock, seccomp, system_calls
from kdump_gdbserver.adapters.sandbox.limits import Budget, set_limits

# So that a thousand clients, a thread each, have room in the address space.
_STACK_SIZE = 2 << 20
# Where shared libraries are that Python's own refer to.
_LIBRARIES = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    "/nix/store", "/gnu/store", "/etc/ld.so.cache",
)  # fmt: skip


def lock_down(readable: Iterable[str], budget: Budget) -> None:
    """Give up all that serving a dump does not need; files that are open stay so.

    Of `readable` paths, and of what lies below them, more files may be opened for reading, and
    Python's own modules. To be called before there are threads. What the kernel does not have is
    passed over: see `describe`.
    """
    threading.stack_size(_STACK_SIZE)
    system_calls.share_one_heap()
    paths = [*readable, *_code()]
    set_limits(budget)
    with contextlib.suppress(OSError):
        system_calls.forbid_new_privileges()
    landlock.allow_reading(paths)
    with contextlib.suppress(OSError):
        system_calls.drop_capabilities()
    seccomp.install_filter()  # last: it forbids all of the above


def describe() -> str:
    """Say in one line what `lock_down` does here, and what the kernel lacks for it."""
    version = landlock.landlock_version()
    have = ["seccomp"] if seccomp.has_seccomp() else []
    have += [f"Landlock {version}"] if version else []
    lacks = [] if seccomp.has_seccomp() else ["no seccomp here: any system call can be made"]
    lacks += [] if version else ["no Landlock here: any file that you may read can be read"]
    return "; ".join([", ".join([*have, "limits on memory and files"]), *lacks])


def _code() -> Iterator[str]:
    """Yield where modules and shared libraries may still be loaded from."""
    yield from _LIBRARIES
    yield str(Path(__file__).parents[2])  # this program
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    # The working directory, which `python -m` puts first, may be anybody's home.
    with contextlib.suppress(OSError):
        here = Path().stat()
        yield from (entry for entry in sys.path if entry and not _is(entry, here))


def _is(path: str, place: os.stat_result) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), place)
    except (OSError, ValueError):
        return True
