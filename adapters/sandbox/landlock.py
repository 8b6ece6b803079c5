"""Landlock: which files may be read, and nothing written (landlock(7))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from kdump_gdbserver.adapters.sandbox.system_calls import system_call

# The same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
# How many rights on files the versions of the interface know: all are taken away.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NO_TCP = 0b11  # bind, connect; since version 4
_NO_OTHERS = 0b11  # no abstract Unix sockets of others, no signals to them; since version 6


def landlock_version() -> int:
    """Return the version of the kernel's interface; 0 where there is none or it is off."""
    try:
        return system_call(_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:
        return 0


def allow_reading(paths: Iterable[str]) -> bool:
    """Let this process open nothing but what lies below these paths, and that for reading only.

    Paths that do not exist are passed over. To come after `forbid_new_privileges`, before there are
    threads. Returns False where the kernel has no Landlock.
    """
    version = landlock_version()
    if not version:
        return False
    fields = [(1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1]
    fields += [_NO_TCP] if version >= 4 else []
    fields += [_NO_OTHERS] if version >= 6 else []
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    try:
        rules = system_call(_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    except OSError:
        return False
    try:
        for path in paths:
            _allow(rules, path)
        system_call(_RESTRICT_SELF, rules, 0)
    except OSError:
        return False
    finally:
        os.close(rules)
    return True


def _allow(rules: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return
    try:
        folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rights = _READ_FILE | _READ_DIRECTORY if folder else _READ_FILE
        rule = struct.pack("=Qi", rights, place)
        with contextlib.suppress(OSError):
            system_call(_ADD_RULE, rules, _PATH_BENEATH, ctypes.c_char_p(rule), 0)
    finally:
        os.close(place)
