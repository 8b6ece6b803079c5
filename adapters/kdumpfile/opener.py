"""Opening dump files with libkdumpfile."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.arch_detection import arch_of_vmcoreinfo
from kdump_gdbserver.adapters.kdumpfile.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.bindings import MMAP_NEVER, Status
from kdump_gdbserver.adapters.kdumpfile.context import Context
from kdump_gdbserver.adapters.kdumpfile.dump import KdumpfileDump
from kdump_gdbserver.adapters.kdumpfile.library import Library, load_library
from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch
from kdump_gdbserver.domain.dump_facts import DumpFacts
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

    def describe_library(self) -> str:
        """Return a line that names the library in use; raises `LibraryNotFoundError`."""
        return self.library.description

    def open(
        self,
        paths: Sequence[str],
        *,
        arch: str | None = None,
        vmcoreinfo: bytes | None = None,
    ) -> CrashDump:
        """See `CrashDumpOpener.open`."""
        library = self.library
        files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
        context = self._attach(library, files, arch, paths)
        attributes = Attributes(context)
        name = attributes.string("arch.name")
        raw = context.vmcoreinfo()
        info = Vmcoreinfo.parse(raw) if raw else Vmcoreinfo({})
        if name is None:
            found = arch_of_vmcoreinfo(info)
            if found is None:
                raise DumpOpenError(f"{paths[0]}: unknown architecture; give --arch")
            context.close()
            context = self._attach(library, files, found.name, paths)
            attributes = Attributes(context)
            name = found.name
        facts = _facts(paths, attributes, ARCHITECTURES[name], library)
        return KdumpfileDump(context, files, facts, info)

    def _attach(
        self, library: Library, files: Sequence[int], arch: str | None, paths: Sequence[str]
    ) -> Context:
        context = Context.new(library.functions)
        attributes = Attributes(context)
        attributes.set_number("file.mmap_policy", MMAP_NEVER)
        if arch is not None:
            attributes.set_string("arch.name", arch)
        array = (ctypes.c_int * len(files))(*files)
        status = context.functions.kdump_open_fdset(context.pointer, len(files), array)
        if status != Status.OK:
            raise DumpOpenError(f"{paths[0]}: {context.error}")
        # Both the VMCOREINFO and the address translation are looked for by OS type.
        attributes.set_string("addrxlat.ostype", "linux")
        return context


def _facts(paths: Sequence[str], attributes: Attributes, arch: Arch, library: Library) -> DumpFacts:
    return DumpFacts(
        paths=tuple(paths),
        format=attributes.string("file.format") or "",
        arch=arch,
        page_size=attributes.number("arch.page_size") or 4096,
        cpu_count=attributes.number("cpu.number") or 0,
        release=attributes.string("linux.uts.release"),
        version=attributes.string("linux.uts.version"),
        nodename=attributes.string("linux.uts.nodename"),
        machine=attributes.string("linux.uts.machine"),
        library=library.description,
    )
