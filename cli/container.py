"""The composition root: which adapter implements which port.

Each provider calls a function here whose types are ports, so that an adapter that does not
fit its port fails the type check; a test holds what goes from provider to provider to the
same types.

Other tools may use it too: set `config`, call `dump()` or `target()`. Tests override
providers, e.g. `container.dump.override(...)` with a fake dump.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from kdump_gdbserver.adapters.sandbox.limits import Budget
from kdump_gdbserver.application.view import DeferredTarget, View
from kdump_gdbserver.cli import symbol_choice
from kdump_gdbserver.cli.given_files import (
    GIVE_EXECUTABLE,
    GIVE_VMLINUX,
    MAX_VMCOREINFO,
    forbid_swapped,
    is_vmcore,
    read_given,
    require_machine,
)
from kdump_gdbserver.cli.logging_setup import set_up_logging
from kdump_gdbserver.cli.symbol_choice import (
    Downloaded,
    SymbolChoice,
    choose_symbols,
    program_maker,
)
from kdump_gdbserver.domain.errors import DumpOpenError, InputError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import CrashDump, CrashDumpOpener
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.symbol_file import SymbolFile
from kdump_gdbserver.ports.symbol_finder import WantedKernel
from kdump_gdbserver.ports.symbol_store import SymbolStore

if TYPE_CHECKING:
    from kdump_gdbserver.application.kernel.kernel_files import MakeProgram
    from kdump_gdbserver.ports.sidecar_reader import SidecarReader


def _opener(library_path: str | None) -> CrashDumpOpener:
    return KdumpfileOpener(library_path)


def _open_dump(
    opener: CrashDumpOpener,
    files: Sequence[str],
    arch: str | None,
    vmcoreinfo: str | None,
    vmlinux: str | None,
) -> CrashDump:
    text: bytes | None = None
    if vmcoreinfo is not None:
        try:
            text = read_given(vmcoreinfo, MAX_VMCOREINFO)
        except OSError as error:
            raise InputError(
                f"{vmcoreinfo}: {error.strerror}; --vmcoreinfo takes a file with VMCOREINFO text"
            ) from error
        try:
            Vmcoreinfo.parse(text)
        except InputError as error:
            raise InputError(f"{vmcoreinfo}: {error}") from None
    try:
        return opener.open(files, arch=arch, vmcoreinfo=text)
    except DumpOpenError:
        forbid_swapped(files, vmlinux)
        raise


def _open_symbol_file(path: str | None, process: str | None, dump: CrashDump) -> SymbolFile | None:
    """Open what `-v` names; a vmlinux must be of the dump's architecture."""
    if path is None:
        return None
    from kdump_gdbserver.adapters.elf_symbols import ElfSymbolFile

    advice = None if process is None else GIVE_EXECUTABLE
    try:
        file = ElfSymbolFile(path, advice)
    except InputError:
        if not is_vmcore(path):
            raise
        raise InputError(
            f"{path}: is a vmcore, not a symbol file; {advice or GIVE_VMLINUX}"
        ) from None
    if process is None:
        require_machine(file, dump.facts.arch, GIVE_VMLINUX)
    return file


def _symbol_store(no_cache: bool) -> SymbolStore | None:
    """Return where symbols are kept from one run to the next, None for nowhere."""
    from kdump_gdbserver.adapters.symbol_cache import SymbolCache

    return None if no_cache else SymbolCache.of_user(os.environ)


def _sysroot(path: str | None) -> HostFiles | None:
    if path is None:
        return None
    from kdump_gdbserver.adapters.host_files import HostDirectory

    return HostDirectory(path)


def _choose_symbols(  # noqa: PLR0917 # each is a provider
    dump: CrashDump,
    symbol_file: SymbolFile | None,
    store: SymbolStore | None,
    symbols: str | None,
    process: str | None,
    download: Callable[[WantedKernel], Downloaded],
) -> SymbolChoice:
    """Choose what debuggers get for the kernel's symbols; in process mode they ask for none."""
    if process is not None:
        return SymbolChoice(symbols, symbol_file, None, "")
    return replace(choose_symbols(dump, symbol_file, symbols, download), store=store)


def _target(
    dump: CrashDump,
    symbols: SymbolChoice,
    tasks: str | None,
    process: str | None,
    files: HostFiles | None,
) -> DeferredTarget:
    """Return what is to be served; a sidecar is read, and refused, right away."""
    if process is not None:
        return _process_target(dump, process, files, symbols.given)
    program = program_maker(symbols)
    if tasks is None:
        return DeferredTarget(lambda: _kernel_view(dump, symbols.given, program))
    from kdump_gdbserver.application.kernel.task_view import defer_task_view

    kernel_tasks = _sidecars().read_kernel_tasks(tasks, dump.facts.arch)
    return DeferredTarget(defer_task_view(dump, kernel_tasks, symbols.given, program))


def _kernel_view(
    dump: CrashDump, symbol_file: SymbolFile | None, make_program: MakeProgram
) -> View:
    # Loaded when the view is made, after the server listens.
    from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view

    return open_kernel_view(dump, symbol_file, make_program)


def _sidecars() -> SidecarReader:
    from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader

    return JsonSidecarReader()


def _process_target(
    dump: CrashDump, path: str, files: HostFiles | None, symbol_file: SymbolFile | None
) -> DeferredTarget:
    from kdump_gdbserver.application.process.process_registers import process_arch
    from kdump_gdbserver.application.process.process_view import defer_process_view

    image = _sidecars().read_process(path, dump.facts.arch)
    target = DeferredTarget(defer_process_view(dump, image, files, symbol_file))
    if symbol_file is not None:
        require_machine(symbol_file, process_arch(dump.facts.arch, image), GIVE_EXECUTABLE)
    return target


def _server(
    target: DeferredTarget, logger: Any, log_exchanges: bool, idle_timeout: float | None
) -> RspServer:
    return RspServer(target, logger, log_exchanges, idle_timeout)


def _budget() -> Budget:
    return Budget()


class Container(containers.DeclarativeContainer):
    """Everything the server is made of; each thing is made when first asked for.

    `config` has the command line's options by their long names: `file` (a list of
    paths), `vmlinux`, `symbols`, `no_cache`, `arch`, `vmcoreinfo`, `kernel_tasks`, `process`,
    `sysroot`, `libkdumpfile`, `debug`, `log_json`, `log_file`, `idle_timeout` (in seconds).
    """

    config = providers.Configuration(
        default={
            "vmlinux": None,
            "arch": None,
            "vmcoreinfo": None,
            "kernel_tasks": None,
            "process": None,
            "symbols": None,
            "no_cache": False,
            "sysroot": None,
            "libkdumpfile": None,
            "debug": False,
            "idle_timeout": None,
            "log_json": False,
            "log_file": None,
        }
    )
    logger = providers.Singleton(set_up_logging, config.debug, config.log_json, config.log_file)
    opener = providers.Singleton(_opener, config.libkdumpfile)
    dump = providers.Singleton(
        _open_dump, opener, config.file, config.arch, config.vmcoreinfo, config.vmlinux
    )
    symbol_file = providers.Singleton(_open_symbol_file, config.vmlinux, config.process, dump)
    symbol_store = providers.Singleton(_symbol_store, config.no_cache)
    download = providers.Object(symbol_choice.download)
    symbols = providers.Singleton(
        _choose_symbols,
        dump,
        symbol_file,
        symbol_store,
        config.symbols,
        config.process,
        download,
    )
    sysroot = providers.Singleton(_sysroot, config.sysroot)
    target = providers.Singleton(
        _target,
        dump,
        symbols,
        config.kernel_tasks,
        config.process,
        sysroot,
    )
    budget = providers.Singleton(_budget)
    server = providers.Singleton(_server, target, logger, config.debug, config.idle_timeout)
