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
from kdump_gdbserver.adapters.kdumpfile.facts import carried_vmcoreinfo, read_facts
from kdump_gdbserver.adapters.kdumpfile.formats.arch_choice import choose_arch
from kdump_gdbserver.adapters.kdumpfile.formats.elf_stub import make_stub
from kdump_gdbserver.adapters.kdumpfile.formats.files import DumpFiles
from kdump_gdbserver.adapters.kdumpfile.formats.header import PAGE_SIZES, FileHeader
from kdump_gdbserver.adapters.kdumpfile.formats.kdump_header import UTS_NODENAME, UTS_VERSION, told
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
    """Search the dumped memory for the VMCOREINFO that the files do not carry."""
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
            headers: list[FileHeader] = []
            handed: list[int] = []  # to the library
            files = DumpFiles(_open_all(paths))
            undo.callback(files.close)
            for index, path in enumerate(paths):
                headers.append(read_header(path, files[index]))
                handed.append(files[index])
                if headers[-1].is_plain_elf:
                    handed[-1] = make_stub(headers[-1])
                    files.keep(handed[-1])
            check_parts(paths, headers)
            info = Vmcoreinfo.parse(vmcoreinfo) if vmcoreinfo is not None else None
            chosen = choose_arch(paths[0], headers[0], arch, info)
            context = attach(library, paths, handed, headers, chosen)
            undo.callback(context.close)
            facts_of = partial(read_facts, paths, context, headers, library=library)
            carried = info is not None or carried_vmcoreinfo(context, headers[0])
            # To search memory, pages of any size will do.
            assumed = None if carried else min(PAGE_SIZES)
            facts, info = facts_of(arch=chosen, replaced=info, assumed_page_size=assumed)
            if not info.lines:
                found = None if facts.xen else _search(context, files, facts, headers)
                facts, info = facts_of(arch=facts.arch, replaced=found and found.info)
                if found is not None:
                    vmcoreinfo = found.text
                    facts = replace(facts, vmcoreinfo_at=found.address)
            page_size = settle(context, paths[0], headers[0], facts, vmcoreinfo)
            require_codec(context, library, paths[0], headers[0])
            dump = KdumpfileDump(context, files, facts, info, headers, page_size=page_size)
            if info.lines and not (facts.nodename or facts.xen):
                dump.facts = _named(dump)
            if (change := files.change()) is not None:
                raise DumpOpenError(
                    f"{', '.join(paths)}: {change.words}; wait until the dump is written"
                )
            undo.pop_all()
        return dump


def _named(dump: KdumpfileDump) -> DumpFacts:
    """Return the facts with the kernel's own name of the machine and its version."""
    from kdump_gdbserver.domain.vmcoreinfo_search import read_utsname

    names = read_utsname(dump.vmcoreinfo, dump.physical(), dump.facts.arch)
    if names is None:
        return dump.facts
    nodename, version = names[UTS_NODENAME], names[UTS_VERSION]
    return replace(dump.facts, nodename=told(nodename), version=told(version))


def _open_all(paths: Sequence[str]) -> list[int]:
    """Open all files or none."""
    with ExitStack() as undo:
        files = []
        for path in paths:
            files.append(open_file(path))
            undo.callback(os.close, files[-1])
        undo.pop_all()
    return files
