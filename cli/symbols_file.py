"""`--save-symbols FILE`: the dump's own names and types, for debuggers other than gdb, too."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kdump_gdbserver.domain.errors import InputError, MemoryFault

if TYPE_CHECKING:
    from kdump_gdbserver.cli.container import Container


def save_symbols(container: Container, path: str) -> str:
    """Write the file, whole or not at all; return what to tell the user.

    It is at link-time addresses, as a vmlinux. Raises `InputError` when the dump has no symbols,
    or the file is there already, or cannot be written.
    """
    from kdump_gdbserver.application.kernel.served_program import dumps_image
    from kdump_gdbserver.application.memory import DumpMemory
    from kdump_gdbserver.application.symbols.symbol_image import NoSymbolsError
    from kdump_gdbserver.cli.console import progress, say_warning

    if os.path.lexists(path) and (Path(path).is_file() or Path(path).is_symlink()):
        raise InputError(f"--save-symbols {path}: is there already; remove it or name another")
    with progress("reading the dump's symbols"):
        dump = container.dump()
        try:
            image = dumps_image(DumpMemory(dump), container.symbol_store())
        except (NoSymbolsError, MemoryFault, ValueError) as error:
            raise InputError(
                f"{dump.facts.paths[0]}: its symbols cannot be had: {error}; use the vmlinux of"
                " the dumped kernel"
            ) from None
    for each in image.missing:
        say_warning(f"{path} has {each}")
    _write(path, image.file)
    return f"{path}: {len(image.file):,} bytes of symbols, at the addresses of the dump's vmlinux"


def _write(path: str, content: bytes) -> None:
    """Write a new file, or into a pipe or a device; what is there already may be a vmlinux."""
    try:
        target = Path(path)
        if os.path.lexists(target):
            target.write_bytes(content)
        else:
            _write_new(target, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--save-symbols {path}: {reason}; name a file to write") from None


def _write_new(target: Path, content: bytes) -> None:
    number, name = tempfile.mkstemp(prefix=".symbols-", dir=target.absolute().parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(number, 0o666 & ~mask)
        Path(name).replace(target)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()
