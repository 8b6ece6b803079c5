"""What the server prints for the person who started it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdump_gdbserver import gdb as gdb_scripts
from kdump_gdbserver.domain.text import printable

if TYPE_CHECKING:
    from kdump_gdbserver.application.view import View
    from kdump_gdbserver.cli.symbol_choice import SymbolChoice
    from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
    from kdump_gdbserver.ports.crash_dump import CrashDump
    from kdump_gdbserver.ports.symbol_file import SymbolFile

PROGRAM = "kdump-gdbserver"
# Bits of makedumpfile's -d LEVEL (makedumpfile(8)).
_CACHE_PAGES, _USER_PAGES = 2, 8


def gdb_script() -> Path:
    """Return the path of the script to source in gdb."""
    return Path(str(gdb_scripts.__file__)).resolve().parent / "KdumpGdbCommands.py"


@dataclass(frozen=True)
class Place:
    """Where the server listens: in words, and as gdb's `target remote` takes it."""

    words: str
    target: str

    def encode(self) -> bytes:
        """Return it for another process, which takes it by `decode`."""
        return f"{self.words}\0{self.target}".encode("utf-8", "surrogateescape")

    @classmethod
    def decode(cls, data: bytes) -> Place:
        """Return what was encoded."""
        return cls(*data.decode("utf-8", "surrogateescape").split("\0"))


def tcp_place(host: str, port: int) -> Place:
    """Return where a TCP server is."""
    shown = f"[{host}]" if ":" in host else host
    return Place(f"{host} port {port}", f"{shown}:{port}")


def unix_place(path: str) -> Place:
    """Return where a server on a Unix socket is; gdb may run in another directory."""
    return Place(path, str(Path(path).absolute()))


def inherited_place(count: int) -> Place:
    """Return where a server is that systemd has opened sockets for."""
    return Place(f"{count} socket(s) opened by systemd", "<the socket of the unit>")


def gdb_word(path: str) -> str:
    """Return a path as gdb's `file` wants it: in quotes if it would be taken for several words.

    One that cannot be printed on a line is shown by escapes, which gdb does not take.
    """
    path = printable(path)
    if not any(char.isspace() or char in "\"'\\" for char in path):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def invitation(
    place: Place,
    vmlinux: str | None,
    info: Vmcoreinfo,
    symbols: SymbolChoice | None = None,
    signed_returns: bool = False,
) -> str:
    """Return the lines that say where the server listens and what to type in gdb.

    `vmlinux` is what `-v` gives; without it, one that was found stands for it. `signed_returns` is
    whether the kernel's return addresses are signed (arm64's pointer authentication), which gdb 13
    takes off rightly from user addresses only.
    """
    if vmlinux is None and symbols is not None and symbols.found is not None:
        vmlinux = symbols.found.path
    offset = info.kaslr_offset
    relocation = f" -o {offset:#x}" if offset else ""
    name = gdb_word(vmlinux) if vmlinux else "<vmlinux>"
    signed = "# (before gdb 14: for any, as return addresses are signed here)\n"
    return (
        f"Waiting for incoming connection on {place.words}\n"
        "In gdb execute the following command(s) to connect:\n"
        f"file {name}{relocation}\n"
        f"target remote {place.target}\n"
        "# For backtraces through interrupts to their end, and for commands that list and\n"
        f"# save the kernel's tasks and processes\n{signed if signed_returns else ''}"
        f"source {gdb_script()}\n"
        "# The same symbols with per-CPU variables put right, as the kernel's own gdb\n"
        "# scripts (lx-ps, $lx_per_cpu()) need them: type this after the above\n"
        f"# kdump-symbol-file {name}\n"
        f"{symbols.line() if symbols else ''}"
    )


def process_invitation(place: Place, executable: str | None, offset: int | None) -> str:
    """Return what `invitation` does, for one process.

    `offset` is by how much its executable was moved, None for one that cannot be (no PIE).
    """
    name, advice = gdb_word(executable) if executable else "<executable>", ""
    if offset is not None:
        name += f" -o {offset:#x}"
        advice = (
            "# If you use PIE executable use the following command to correctly\n"
            "# load process symbols\n"
        )
    return (
        f"Waiting for incoming connection on {place.words}\n"
        "In gdb execute the following command(s) to connect:\n"
        f"{advice}"
        f"file {name}\n"
        f"target remote {place.target}\n"
    )


def warnings_about(dump: CrashDump, symbol_file: SymbolFile | None, path: str | None) -> list[str]:
    """Return what the user should know before believing what gdb will show."""
    from kdump_gdbserver.application.memory import DumpMemory

    lines: list[str] = []
    ours, theirs = dump.vmcoreinfo.build_id, symbol_file.build_id if symbol_file else None
    if ours and theirs and ours != theirs:
        lines.append(
            f"{path} is not the dumped kernel: its build-id is {theirs}, the dump's {ours};"
            " names and backtraces will be wrong"
        )
    if symbol_file and not symbol_file.has_symbols:
        lines.append(
            f"{path} has no symbol table (stripped): gdb shows names only if it finds the debug"
            " file; better give the vmlinux with debuginfo"
        )
    if dump.facts.truncated:
        lines.append(f"{dump.facts.paths[0]} is truncated: memory beyond its end cannot be read")
    if moved := dump.facts.memory_moved:
        lines.append(
            f"QEMU wrote {abs(moved)} bytes of notes {'more' if moved > 0 else 'less'} than the"
            " dump's headers say; memory is read from where the end of the file proves it to be"
        )
    if dump.facts.notes_unread:
        lines.append("some of the dump's notes are damaged: CPUs or facts may be missing")
    if dump.facts.parts_missing:
        lines.append(
            "not all parts of the split dump were given, memory in the others cannot be read;"
            " give each with -f"
        )
    if dump.facts.cpu_count == 0:
        lines.append("the dump has no CPU registers: gdb will show one thread with pc 0")
    if dump.facts.vmcoreinfo_at is not None:
        lines.append(
            "the dump does not carry VMCOREINFO; the kernel's own was found in its memory, and its"
            " page tables and release agree with it"
        )
    if not dump.vmcoreinfo.lines:
        lines.append(
            "the dump has no VMCOREINFO, so kernel addresses may not be readable;"
            " give it with --vmcoreinfo FILE"
        )
    elif why := DumpMemory(dump).trouble:
        lines.append(f"kernel addresses cannot be read: {why}")
    return lines


def exposure(address: str) -> str:
    """Return the warning about an address that other machines can reach."""
    return (
        f"listening on {address}: everybody who can reach it can read the whole dump, keys and"
        " passwords in it too, for the protocol has no authentication; with the default address"
        " and an ssh tunnel only you can (ssh -L 1234:localhost:1234 HOST)"
    )


def say(text: str) -> None:
    """Print the server's own lines; go on serving if nobody reads them.

    A path in them that cannot be printed is shown by escapes.
    """
    with contextlib.suppress(OSError):
        print("\n".join(map(printable, text.split("\n"))), end="", flush=True)


@contextlib.contextmanager
def progress(text: str, after: float = 1.0) -> Iterator[None]:
    """Say on a terminal what is being done, if it takes more than `after` seconds."""
    timer = threading.Timer(after, lambda: _say_progress(text))
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say_progress(text: str) -> None:
    _say_on_stderr(f"{PROGRAM}: {text} ...\n")


def _say_on_stderr(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


class DownloadProgress:
    """Says on standard error what is being downloaded: on a terminal in one line that changes."""

    def __init__(self) -> None:
        self._said = ""
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> DownloadProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._said and self._terminal:
            _say_on_stderr("\n")

    def __call__(self, url: str, size: int, total: int | None) -> None:
        """Take how many bytes are there, and of how many."""
        url = printable(url)
        if url != self._said:
            start = "\n" if self._said and self._terminal else ""
            self._said = url
            end = "" if self._terminal else "\n"
            _say_on_stderr(f"{start}{PROGRAM}: downloading {url} (ctrl-C goes on without){end}")
        now = time.monotonic()
        if self._terminal and size and (now - self._shown > 0.5 or size == total):
            self._shown = now
            of = f" of {total >> 20}" if total else ""
            _say_on_stderr(f"\r{PROGRAM}: downloading {url}: {size >> 20}{of} MiB")


def executable_warnings(view: View, symbol_file: SymbolFile, path: str) -> list[str]:
    """Return the warning that `-v` is not the process's executable, if so."""
    ours, theirs = view.build_id, symbol_file.build_id
    if not ours or not theirs or ours == theirs:
        return []
    return [
        f"{path} is not the process's executable {view.exec_file}: its build-id is {theirs},"
        f" the dump's {ours}; names and backtraces will be wrong"
    ]


def process_warnings(dump: CrashDump, sysroot: str | None) -> list[str]:
    """Return what the user of process mode should know of a filtered dump."""
    level = dump.facts.dump_level or 0
    made = f"{dump.facts.paths[0]} was made with makedumpfile -d {level}"
    if level & _USER_PAGES:
        return [f"{made}, without user pages: little of the process's memory is in it"]
    if level & _CACHE_PAGES and sysroot is None:
        return [
            f"{made}, without the page cache: programs' and libraries' code is not in it;"
            " --sysroot DIR takes it from their files"
        ]
    return []


def say_error(message: str) -> None:
    """Print one error line."""
    _tell(f"error: {message}")


def say_warning(message: str) -> None:
    """Print one warning line."""
    _tell(f"warning: {message}")


def _tell(message: str) -> None:
    """Print one line, whatever words of a dump or a path are in it."""
    with contextlib.suppress(OSError):
        print(printable(f"{PROGRAM}: {message}"), file=sys.stderr, flush=True)


def give_up_unwritable() -> None:
    """Drop unwritten output, which would otherwise cause an error at exit."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed from the start
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
