"""Opening dump files with libkdumpfile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kdump_gdbserver.adapters.kdumpfile.attach import attach, require_codec, settle
from kdump_gdbserver.adapters.kdumpfile.dump import KdumpfileDump
from kdump_gdbserver.adapters.kdumpfile.facts import read_facts
from kdump_gdbserver.adapters.kdumpfile.formats.arch_choice import choose_arch
from kdump_gdbserver.adapters.kdumpfile.formats.elf_stub import make_stub, needs_stub
from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.formats.header import PAGE_SIZES, FileHeader
from kdump_gdbserver.adapters.kdumpfile.formats.parts import check_parts
from kdump_gdbserver.adapters.kdumpfile.formats.probe import open_file, read_header
from kdump_gdbserver.adapters.kdumpfile.library.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.library.loading import Library, load_library
from kdump_gdbserver.domain.errors import DumpOpenError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import CrashDump

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.kdumpfile.library.context import Context
    from kdump_gdbserver.domain.dump_facts import DumpFacts
    from kdump_gdbserver.domain.vmcoreinfo_search import FoundVmcoreinfo


def _search(
    context: Context, files: DumpFiles, facts: DumpFacts, headers: Sequence[FileHeader]
) -> FoundVmcoreinfo | None:
    """Look for the VMCOREINFO that the files do not carry in the memory that they do."""
    from kdump_gdbserver.domain.vmcoreinfo_search import find_vmcoreinfo

    nothing, page_size = Vmcoreinfo({}), facts.page_size
    if not headers[0].is_plain_elf:  # else memory is read without the library
        page_size = settle(context, facts.paths[0], headers[0], facts, None)
    ranges: list[tuple[int, int]] = []
    for header in headers:
        if header.held is not None:
            ranges.append((header.held.first * page_size, header.held.end * page_size))
        elif header.extents is not None:
            ranges += [(extent.start, extent.end) for extent in header.extents]
        else:
            ranges.append((0, (Attributes(context).number("max_pfn") or 0) * page_size))
    bare = KdumpfileDump(context, files, facts, nothing, headers, page_size=page_size)
    try:
        return find_vmcoreinfo(bare.physical(), ranges, facts.arch)
    finally:
        bare.close_spaces()


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
            headers: list[FileHeader] = []
            handed: list[int] = []  # to the library
            with ExitStack() as opened:
                for path in paths:
                    files.append(open_file(path))
                    opened.callback(os.close, files[-1])
                for path, file in zip(paths, files, strict=True):
                    headers.append(read_header(path, file))
                    handed.append(make_stub(file, headers[-1]) if needs_stub(headers[-1]) else file)
                    if handed[-1] != file:
                        opened.callback(os.close, handed[-1])
                open_files = DumpFiles([*files, *(set(handed) - set(files))])
                opened.pop_all()
            undo.callback(open_files.close)
            check_parts(paths, headers)
            info = Vmcoreinfo.parse(vmcoreinfo) if vmcoreinfo is not None else None
            chosen = choose_arch(paths[0], headers[0], arch, info)
            context = attach(library, paths, handed, headers, chosen)
            undo.callback(context.close)
            facts_of = partial(read_facts, paths, context, headers, library=library)
            carried = info is not None or context.vmcoreinfo() or headers[0].vmcoreinfo
            # To search memory, pages of any size will do.
            assumed = None if carried else min(PAGE_SIZES)
            facts, info = facts_of(arch=chosen, replaced=info, assumed_page_size=assumed)
            if not info.lines:
                found = None if facts.xen else _search(context, open_files, facts, headers)
                facts, info = facts_of(arch=facts.arch, replaced=found and found.info)
                if found is not None:
                    vmcoreinfo = found.text
                    facts = replace(facts, vmcoreinfo_at=found.address)
            page_size = settle(context, paths[0], headers[0], facts, vmcoreinfo)
            require_codec(context, library, paths[0], headers[0])
            dump = KdumpfileDump(context, open_files, facts, info, headers, page_size=page_size)
            undo.pop_all()
        return dump
