"""Finding and loading libkdumpfile."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from kdump_gdbserver.adapters.kdumpfile.library.bindings import Bindings
from kdump_gdbserver.domain.errors import InputError

ENVIRONMENT_VARIABLE = "KDUMP_GDBSERVER_LIBKDUMPFILE"
SONAMES = ("libkdumpfile.so.12", "libkdumpfile.so.11", "libkdumpfile.so.10")
HOW_TO_GET = (
    "install it with 'pip install drgn' (its wheel carries a copy) or with the system's "
    "packages, e.g. 'apt install libkdumpfile10' or 'dnf install libkdumpfile'"
)
_SONAME = re.compile(r"\.so\.(\d+(?:\.\d+)*)\Z")


class LibraryNotFoundError(InputError):
    """No usable libkdumpfile was found."""


class Library:
    """A loaded libkdumpfile: its functions, its file and its version."""

    def __init__(self, functions: Bindings, path: str) -> None:
        self.functions = functions
        self.path = path
        match = _SONAME.search(path)
        self.abi: tuple[int, ...] | None = (
            tuple(int(part) for part in match[1].split(".")) if match else None
        )

    @property
    def name(self) -> str:
        """The library's name with its ABI version, as far as the file's name shows it."""
        return f"libkdumpfile.so.{'.'.join(map(str, self.abi))}" if self.abi else "libkdumpfile"

    @property
    def description(self) -> str:
        """One line for people: name, ABI version and file."""
        return f"{self.name} ({self.path})"


def load_library(path: str | None = None) -> Library:
    """Load libkdumpfile from `path`, the environment, the drgn wheel or the system.

    A path that was given is the only one tried. Raises `LibraryNotFoundError`, which
    names what was tried and how to get the library.
    """
    given = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        try:
            return _load(given)
        except (OSError, AttributeError) as error:
            origin = "--libkdumpfile" if path else ENVIRONMENT_VARIABLE
            raise LibraryNotFoundError(
                f"cannot load libkdumpfile from '{given}' (given by {origin}): {error}; "
                f"correct the path, or leave it out and {HOW_TO_GET}"
            ) from None
    failures: list[str] = []
    for candidate in _candidates():
        try:
            return _load(candidate)
        except (OSError, AttributeError) as error:
            failures.append(str(error))
    tried = f" (last try: {failures[-1]})" if failures else ""
    raise LibraryNotFoundError(f"libkdumpfile was not found{tried}; {HOW_TO_GET}")


def _candidates() -> Iterator[str]:
    """Yield what to try, best first; the slow search comes last, when nothing else is left."""
    yield from map(str, drgn_wheel_copies())
    yield from SONAMES
    from ctypes.util import find_library  # costs more than all else here; seldom needed

    found = find_library("kdumpfile")
    if found:
        yield found


def drgn_wheel_copies() -> list[Path]:
    """Return the copies beside an installed drgn, newest first, without importing drgn."""
    try:
        spec = importlib.util.find_spec("drgn")
    except (ImportError, ValueError):
        return []
    if spec is None or spec.origin is None:
        return []
    libraries = Path(spec.origin).parent.parent / "drgn.libs"
    return sorted(libraries.glob("libkdumpfile*.so.*"), key=_abi_of, reverse=True)


def _abi_of(path: Path) -> tuple[int, ...]:
    match = _SONAME.search(path.name)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _load(name: str) -> Library:
    try:
        cdll = ctypes.CDLL(name)
    except OSError:
        # A library outside the loader's path may have libaddrxlat beside it.
        siblings = sorted(Path(name).parent.glob("libaddrxlat*.so.*")) if "/" in name else []
        if not siblings or not Path(name).exists():
            raise
        ctypes.CDLL(str(siblings[-1]))
        cdll = ctypes.CDLL(name)
    functions = Bindings(cdll)
    return Library(functions, _file_of(cdll) or name)


class _DlInfo(ctypes.Structure):
    _fields_ = (
        ("dli_fname", ctypes.c_char_p),
        ("dli_fbase", ctypes.c_void_p),
        ("dli_sname", ctypes.c_char_p),
        ("dli_saddr", ctypes.c_void_p),
    )


def _file_of(cdll: ctypes.CDLL) -> str | None:
    """Return the file that the loader took (dladdr(3)), symbolic links resolved."""
    if not sys.platform.startswith("linux"):
        return None
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = (ctypes.c_void_p, ctypes.POINTER(_DlInfo))
    dladdr.restype = ctypes.c_int
    info = _DlInfo()
    address = ctypes.cast(cdll.kdump_new, ctypes.c_void_p)
    if not dladdr(address, ctypes.byref(info)) or not info.dli_fname:
        return None
    return os.path.realpath(os.fsdecode(info.dli_fname))
