"""Giving the files to libkdumpfile, and saying what is wrong if it refuses them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.header import PAGE_SIZES, FileHeader
from kdump_gdbserver.adapters.kdumpfile.formats.kdump_header import CODECS
from kdump_gdbserver.adapters.kdumpfile.library.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.library.bindings import MACHPHYSADDR, MMAP_NEVER, Status
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.library.loading import Library
from kdump_gdbserver.domain.arch import Arch
from kdump_gdbserver.domain.dump_facts import DumpFacts
from kdump_gdbserver.domain.errors import DumpOpenError

# Decompressed pages that libkdumpfile keeps. It searches them one by one (see PageCache),
# but needs a few for each context that is in the middle of a page table.
_CACHED_PAGES = 512


def attach(
    library: Library,
    paths: Sequence[str],
    files: Sequence[int],
    headers: Sequence[FileHeader],
    arch: Arch | None,
) -> Context:
    """Return a context over the files; raise `DumpOpenError`."""
    context = Context.new(library.functions)
    attributes = Attributes(context)
    # Never mmap: a dump that shrinks while it is open would kill the server with SIGBUS.
    attributes.set_number("file.mmap_policy", MMAP_NEVER)
    # Not later: libkdumpfile would return the pages that it holds since opening to a cache that the
    # change of size has freed.
    attributes.set_number("cache.size", _CACHED_PAGES)
    if arch is not None and headers[0].form != "elf":
        # QEMU's kdump files do not name it in a way that libkdumpfile understands. It has to be set
        # before the files, or else the CPUs' notes are not understood.
        attributes.set_string("arch.name", arch.name)
    array = (ctypes.c_int * len(files))(*files)
    status = context.functions.kdump_open_fdset(context.pointer, len(files), array)
    if status != Status.OK:
        error = context.error
        context.abandon()
        raise DumpOpenError(_refusal(library, paths, headers, status, error))
    return context


def settle(
    context: Context, path: str, header: FileHeader, facts: DumpFacts, replaced: bytes | None
) -> int:
    """Make an attached context ready for reading; return the size of the file's pages.

    Raises `DumpOpenError` when that is none that a machine can have: libkdumpfile would write past
    the end of a buffer.
    """
    attributes = Attributes(context)
    if replaced is not None:
        # This works only once the files are open, since opening sets it again.
        attributes.set_blob("linux.vmcoreinfo.raw", replaced)
    page_size = header.block_size or facts.page_size
    if page_size not in PAGE_SIZES:
        raise DumpOpenError(
            f"{path}: its header gives a page size of {page_size} bytes, which no machine has; "
            "check that the file is whole"
        )
    if attributes.number("arch.page_size") != page_size:
        # VMCOREINFO may be damaged; and QEMU writes aarch64's memory in pages of 64 KiB, where
        # VMCOREINFO has the kernel's size.
        attributes.set_number("arch.page_size", page_size)
    return page_size


def require_codec(context: Context, library: Library, path: str, header: FileHeader) -> None:
    """Raise `DumpOpenError` when libkdumpfile was built without the codec of the pages."""
    flag = next((bit for bit, name in CODECS if name == header.codec), 0)
    frame = header.held.first_with(flag) if header.held is not None and flag else None
    if frame is None:
        return
    byte, size = ctypes.c_char(), ctypes.c_size_t(1)
    page_size = Attributes(context).number("arch.page_size") or 0
    status = context.functions.kdump_read(
        context.pointer,
        MACHPHYSADDR,
        frame * page_size,
        ctypes.addressof(byte),
        ctypes.byref(size),
    )
    if status == Status.NOTIMPL:
        raise DumpOpenError(
            f"{path}: its pages are compressed with {header.codec}, which this {library.name} "
            f"was built without ({context.error or 'not implemented'}); use another one "
            "('pip install drgn')"
        )


def _refusal(
    library: Library,
    paths: Sequence[str],
    headers: Sequence[FileHeader],
    status: int,
    error: str,
) -> str:
    """Say in one line why libkdumpfile did not take the files, and what to do."""
    name = ", ".join(paths)
    words = " ".join(error.split()) or "no reason given"
    header = headers[0]
    if status == Status.NOTIMPL and "nknown file format" in words:
        if header.flattened:
            return (
                f"{name}: is in makedumpfile's flattened format, which this {library.name} "
                f"cannot open ({words}); use a newer one ('pip install drgn'), or put the file "
                f"together with 'makedumpfile -R OUT < {paths[0]}'"
            )
        if header.form == "unknown":
            return (
                f"{name}: is not a crash dump that libkdumpfile knows ({words}); "
                "give a vmcore written by kdump, makedumpfile or QEMU"
            )
    if header.flattened and header.truncated:
        return (
            f"{name}: is truncated, and libkdumpfile does not open a flattened dump without its "
            f"end ({words}); copy the dump again"
        )
    if any(part.truncated for part in headers):
        return f"{name}: is truncated too early to be opened ({words}); copy the dump again"
    if header.split and len(paths) == 1:
        return f"{name}: is one part of a split dump ({words}); name all its parts"
    return f"{name}: libkdumpfile cannot open it: {words}; check that the file is whole"
