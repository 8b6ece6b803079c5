"""The gdb script as one file that needs nothing beside it."""

from __future__ import annotations

import ast
import contextlib
import os
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from kdump_gdbserver.cli.console import gdb_script
from kdump_gdbserver.domain.errors import InputError

_FIRST = PurePosixPath("gdb/kdump_commands/registration.py")
_EMPTY = "kdump_modules = []  # type: list[tuple[str, str]]\n"
# The first words of a file that was written here, which may be replaced.
_MARK = "# Written by kdump-gdbserver "


def script_modules() -> list[tuple[str, str]]:
    """Return each module that the script loads: path and text, after those it imports."""
    root = gdb_script().parent.parent
    found: list[tuple[str, str]] = []
    seen: set[PurePosixPath] = set()

    def visit(path: PurePosixPath) -> None:
        for folder in reversed(path.parents):  # a package is loaded before what is in it
            if folder / "__init__.py" != path:
                visit(folder / "__init__.py")
        if path in seen or not (root / path).is_file():
            return
        seen.add(path)
        text = (root / path).read_text(encoding="utf-8")
        for imported in _imported(path, text):
            visit(imported)
        found.append((str(path), text))

    visit(_FIRST)
    return found


def _imported(path: PurePosixPath, text: str) -> Iterator[PurePosixPath]:
    """Iterate over the files that relative imports may mean; not all of them are there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            yield place.with_suffix(".py")
            yield place / "__init__.py"
            yield from (place / f"{alias.name}.py" for alias in node.names)


def one_file() -> str:
    """Return the text of the script with all that it loads in it."""
    script = gdb_script().read_text(encoding="utf-8")
    assert script.count(_EMPTY) == 1
    modules = "".join(
        f'    ("{path}", """{_quoted(text)}"""),\n' for path, text in script_modules()
    )
    head = f"{_MARK}{version('kdump-gdbserver')} --write-gdb-script: all in one file, to copy.\n"
    return head + script.replace(_EMPTY, f"kdump_modules = [\n{modules}]\n")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def write_gdb_script(name: str) -> Path:
    """Write the script as one file, all or nothing; return its path.

    Only a file that was written so before is replaced. Raises `InputError` when another one is
    there, or it cannot be written.
    """
    path = Path(name).absolute()
    try:
        mode = _replaceable(path)
        text = one_file()
        handle, scratch = tempfile.mkstemp(prefix=".kdump-", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
            Path(scratch).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(scratch).unlink()
            raise
    except OSError as error:
        raise InputError(
            f"{name}: {error.strerror or error}; name a file that you can write"
        ) from None
    return path


def _replaceable(path: Path) -> int:
    """Return the mode that the file is to have; raise `InputError` if it is not ours."""
    if not os.path.lexists(path):
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
    with contextlib.suppress(UnicodeDecodeError):
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                if file.readline(200).startswith(_MARK):
                    return path.stat().st_mode & 0o777
    raise InputError(
        f"{path}: is there already, and --write-gdb-script did not write it; remove it or give"
        " another name"
    )
