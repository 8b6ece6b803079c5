"""System calls that Python's library has no function for."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_LIBC: Any = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: 64 bits in two words
_DAC_READ_SEARCH = 1 << 2
_M_ARENA_MAX = -8


def system_call(number: int, *arguments: int | Any) -> int:
    """Make a system call; raises `OSError`."""
    values = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *values))


def forbid_new_privileges() -> None:
    """Make programs with set-uid bits ordinary ones (prctl(2)); raises `OSError`."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(signal_number: int) -> None:
    """Get a signal when the thread that started this process ends; raises `OSError`."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def drop_capabilities() -> None:
    """Keep no capability of root's but to read files, if there is any; raises `OSError`.

    Files that only root may read can still be opened.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    words = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the high halves
    _checked(_LIBC.capget(header, words))
    kept = words[1] & _DAC_READ_SEARCH
    _checked(_LIBC.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))


def share_one_heap() -> None:
    """Let all threads share two heaps, where glibc would reserve 64 MiB for each of many."""
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_M_ARENA_MAX, 2)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _checked(_LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
