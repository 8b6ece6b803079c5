"""Opening dump files with libkdumpfile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from kdump_gdbserver.adapters.kdumpfile.attach import attach, require_codec, settle
from kdump_gdbserver.adapters.kdumpfile.dump import KdumpfileDump
from kdump_gdbserver.adapters.kdumpfile.facts import read_facts
from kdump_gdbserver.adapters.kdumpfile.formats.arch_choice import choose_arch
from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.formats.parts import check_parts
from kdump_gdbserver.adapters.kdumpfile.formats.probe import open_file, read_header
from kdump_gdbserver.adapters.kdumpfile.library.loading import Library, load_library
from kdump_gdbserver.domain.errors import DumpOpenError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import CrashDump


class KdumpfileOpener:
    """Opens dumps with libkdumpfile; implements `ports.crash_dump.CrashDumpOpener`."""

    def __init__(self, library_path: str | None = None) -> None:
        """Load the library when first needed: from `library_path` if that is given."""
        self._library_path = library_path
        self._library: Library | None = None

    @property
    def library(self) -> Library:
        """The loaded library; raises `LibraryNotFoundError`."""
        if self._library is None:
            self._library = load_library(self._library_path)
        return self._library

    def describe(self) -> str:
        """See `CrashDumpOpener.describe`: the library in use; raises `LibraryNotFoundError`."""
        return self.library.description

    def open(
        self,
        paths: Sequence[str],
        *,
        arch: str | None = None,
        vmcoreinfo: bytes | None = None,
    ) -> CrashDump:
        """See `CrashDumpOpener.open`; the replacing VMCOREINFO also serves translation."""
        if not paths:
            raise DumpOpenError("no dump file was named; give the path of a vmcore")
        library = self.library
        with ExitStack() as undo:
            files: list[int] = []
            for path in paths:
                files.append(open_file(path))
                undo.callback(os.close, files[-1])
            headers = [read_header(path, file) for path, file in zip(paths, files, strict=True)]
            check_parts(paths, headers)
            info = Vmcoreinfo.parse(vmcoreinfo) if vmcoreinfo is not None else None
            chosen = choose_arch(paths[0], headers[0], arch, info)
            context = attach(library, paths, files, headers, chosen)
            undo.callback(context.close)
            facts, info = read_facts(
                paths, context, headers, arch=chosen, library=library, replaced=info
            )
            page_size = settle(context, paths[0], headers[0], facts, vmcoreinfo)
            require_codec(context, library, paths[0], headers[0])
            dump = KdumpfileDump(
                context, DumpFiles(files), facts, info, headers, page_size=page_size
            )
            undo.pop_all()
        return dump
