"""Whose symbols a debugger gets that was given none, and how that is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.symbol_file import SymbolFile
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux, WantedKernel
from kdump_gdbserver.ports.symbol_store import SymbolStore

if TYPE_CHECKING:
    from kdump_gdbserver.application.kernel.kernel_files import KernelProgram, MakeProgram
    from kdump_gdbserver.application.memory import DumpMemory

GIVEN = "given by -v"
# A vmlinux, and in words how it was found; or none, and why.
Downloaded = tuple[FoundVmlinux | None, str]


@dataclass(frozen=True, slots=True)
class SymbolChoice:
    """The vmlinux that is served, None for another file; `why` says why not, or how it was found.

    `symbols` is what `--symbols` says, `given` what `-v` does; `store` keeps what is made.
    """

    symbols: str | None
    given: SymbolFile | None
    found: FoundVmlinux | None
    why: str
    store: SymbolStore | None = None

    def line(self) -> str:
        """Return the comment that tells it, for the printed lines."""
        if self.found is not None:
            where = printable(self.found.path)
        elif self.symbols == "none":
            where = "none"
        else:
            where = "the dump's own names and types"
        return f"# Symbols for a gdb without a file: {where} ({self.why})\n"


def download(wanted: WantedKernel) -> Downloaded:
    """Ask the servers of $DEBUGINFOD_URLS for a vmlinux; ctrl-C makes it give up."""
    from kdump_gdbserver.adapters.debuginfod import Debuginfod
    from kdump_gdbserver.cli.console import DownloadProgress

    with DownloadProgress() as progress:
        client = Debuginfod(_this_machine(), os.environ, progress)
        try:
            found = client.find(wanted)
        except KeyboardInterrupt as stop:
            if type(stop) is not KeyboardInterrupt:  # told to end
                raise
            return None, "debuginfod was interrupted"
    if found is not None:
        return found, found.how
    problem = f": {printable(client.problem)}" if client.problem else ""
    return None, f"no vmlinux was found{problem}"


def choose_symbols(
    dump: CrashDump,
    given: SymbolFile | None,
    symbols: str | None,
    download: Callable[[WantedKernel], Downloaded] = download,
) -> SymbolChoice:
    """Look for the vmlinux to serve; the options overrule.

    Raises `InputError` where `--symbols vmlinux` is given and there is none.
    """
    if symbols in ("dump", "none"):
        return SymbolChoice(symbols, given, None, f"as --symbols {symbols} says")
    info = dump.vmcoreinfo
    if info.build_id is None:
        choice = SymbolChoice(
            symbols, given, None, "the dump has no build-id to find its vmlinux by"
        )
    else:
        wanted = WantedKernel(
            info.build_id,
            dump.facts.arch.elf_machine,
            info.release or dump.facts.release,
            tuple(dump.facts.paths),
        )
        choice = _given(wanted, given, symbols) if given else _find(wanted, symbols, download)
    if symbols == "vmlinux" and choice.found is None:
        raise InputError(
            f"--symbols vmlinux: there is none to serve: {choice.why}; give the dumped kernel's"
            " vmlinux with -v"
        )
    return choice


def _given(wanted: WantedKernel, given: SymbolFile, symbols: str | None) -> SymbolChoice:
    from kdump_gdbserver.domain.symbol_files.sections import is_vmlinux_of

    path = str(Path(given.path).absolute())
    if given.build_id != wanted.build_id:
        return SymbolChoice(
            symbols, given, None, f"{printable(given.path)} has another build-id than the dump"
        )
    opened = _this_machine().open(path)
    if opened is None:
        return SymbolChoice(symbols, given, None, f"{printable(given.path)} is not a regular file")
    has_dwarf = is_vmlinux_of(opened.read, opened.size, wanted.build_id, wanted.machine)
    opened.close()
    if not has_dwarf:
        return SymbolChoice(symbols, given, None, f"{printable(given.path)} has no DWARF")
    return SymbolChoice(symbols, given, FoundVmlinux(path, GIVEN), GIVEN)


def _find(
    wanted: WantedKernel, symbols: str | None, download: Callable[[WantedKernel], Downloaded]
) -> SymbolChoice:
    from kdump_gdbserver.adapters.debug_files import DebugFiles

    found = DebugFiles(_this_machine()).find(wanted)
    if found is not None:
        return SymbolChoice(symbols, None, found, found.how)
    if not os.environ.get("DEBUGINFOD_URLS"):
        return SymbolChoice(symbols, None, None, "no vmlinux was found")
    return SymbolChoice(symbols, None, *download(wanted))


def _this_machine() -> HostFiles:
    from kdump_gdbserver.adapters.host_files import HostDirectory

    return HostDirectory("/")


def program_maker(choice: SymbolChoice) -> MakeProgram:
    """Return what makes the program that debuggers get; loads nothing before that."""

    def make(memory: DumpMemory, text: int | None) -> KernelProgram:
        from kdump_gdbserver.application.kernel.kernel_files import identity
        from kdump_gdbserver.application.kernel.served_program import ServeDumpsOwn, ServeVmlinux

        if choice.symbols == "none":
            return identity(memory)
        own = ServeDumpsOwn(choice.store)
        if choice.found is None:
            return own(memory, text)
        return ServeVmlinux(choice.found, _this_machine(), own)(memory, text)

    return make
