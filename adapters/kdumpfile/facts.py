"""Gathering the facts of an open dump."""

from __future__ import annotations

from collections.abc import Sequence

from kdump_gdbserver.adapters.kdumpfile.formats.arch_choice import detect_arch
from kdump_gdbserver.adapters.kdumpfile.formats.header import PAGE_SIZES, FileHeader
from kdump_gdbserver.adapters.kdumpfile.formats.kdump_header import (
    UTS_NODENAME,
    UTS_RELEASE,
    UTS_VERSION,
    told,
)
from kdump_gdbserver.adapters.kdumpfile.formats.parts import parts_missing
from kdump_gdbserver.adapters.kdumpfile.library.attributes import Attributes
from kdump_gdbserver.adapters.kdumpfile.library.context import Context
from kdump_gdbserver.adapters.kdumpfile.library.loading import Library
from kdump_gdbserver.adapters.kdumpfile.memory.translation import can_translate
from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch, arch_named
from kdump_gdbserver.domain.cpu_notes import cpu_notes
from kdump_gdbserver.domain.dump_facts import DumpFacts
from kdump_gdbserver.domain.errors import DumpOpenError, InputError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo


def read_facts(
    paths: Sequence[str],
    context: Context,
    headers: Sequence[FileHeader],
    *,
    arch: Arch | None,
    library: Library,
    replaced: Vmcoreinfo | None,
    assumed_page_size: int | None = None,
) -> tuple[DumpFacts, Vmcoreinfo]:
    """Return the facts and the VMCOREINFO; raise `DumpOpenError` for an unknown machine.

    The page size is `assumed_page_size` (bytes) if nothing else gives it; if that is None too, it
    is an error.
    """
    attributes = Attributes(context)
    vmcoreinfo = replaced or _vmcoreinfo(carried_vmcoreinfo(context, headers[0]))
    arch = arch or _arch_of_open(paths[0], attributes, headers[0], vmcoreinfo)
    if arch.paging is None and not can_translate(library.functions, arch):
        raise DumpOpenError(
            f"{paths[0]}: is a dump of {arch.name}, whose page tables this {library.name} does "
            "not know; use a newer one ('pip install drgn')"
        )
    facts = DumpFacts(
        paths=tuple(paths),
        format=attributes.string("file.format") or headers[0].form,
        arch=arch,
        page_size=_page_size(paths[0], arch, attributes, vmcoreinfo, assumed_page_size),
        cpu_count=len(cpu_notes(headers[0].notes, arch, headers[0].byte_order) or ())
        or attributes.number("cpu.number")
        or 0,
        hypervisor=_is_hypervisor(headers),
        release=_uts(headers[0], UTS_RELEASE) or vmcoreinfo.release,
        version=_uts(headers[0], UTS_VERSION),
        nodename=_uts(headers[0], UTS_NODENAME),
        machine=headers[0].machine,
        dump_level=headers[0].dump_level,
        truncated=any(header.truncated for header in headers),
        memory_moved=headers[0].moved,
        notes_unread=any(header.notes_unread for header in headers),
        library=library.description,
        parts_missing=parts_missing(headers),
        codec=headers[0].codec,
        flattened=headers[0].flattened,
        xen=any(header.from_xen for header in headers),
    )
    return facts, vmcoreinfo


def carried_vmcoreinfo(context: Context, header: FileHeader) -> bytes | None:
    """Return the VMCOREINFO text of the file, None when it has none."""
    return header.vmcoreinfo or (context.vmcoreinfo() if header.form == "unknown" else None)


def _uts(header: FileHeader, field: int) -> str | None:
    """Return what the header says; libkdumpfile would translate addresses to ask the kernel."""
    return told(header.uts[field]) if header.uts else None


def _vmcoreinfo(raw: bytes | None) -> Vmcoreinfo:
    try:
        return Vmcoreinfo.parse(raw) if raw else Vmcoreinfo({})
    except InputError:
        return Vmcoreinfo({})  # damaged: treated as missing


def _page_size(
    path: str, arch: Arch, attributes: Attributes, vmcoreinfo: Vmcoreinfo, assumed: int | None
) -> int:
    """Return the size of the machine's pages in bytes; raise `DumpOpenError` if it is unknown."""
    fixed = arch.paging.page_size if arch.paging is not None else 0
    for size in (fixed, vmcoreinfo.page_size, attributes.number("arch.page_size"), assumed):
        if size in PAGE_SIZES:
            return size
    raise DumpOpenError(
        f"{path}: the page size is not known; give the kernel's VMCOREINFO (--vmcoreinfo)"
    )


def _arch_of_open(
    path: str, attributes: Attributes, header: FileHeader, vmcoreinfo: Vmcoreinfo
) -> Arch:
    """Ask libkdumpfile, then the VMCOREINFO, for the architecture."""
    name = told(attributes.string("arch.name"))
    arch = arch_named(name) if name else detect_arch(header, vmcoreinfo)
    if arch is None:
        known = ", ".join(ARCHITECTURES)
        if name:
            raise DumpOpenError(
                f"{path}: is a dump of '{name}', which is not supported; supported are {known};"
                " where firmware has another byte order than the kernel, a hypervisor may have"
                " written that: give the kernel's own by --arch"
            )
        raise DumpOpenError(
            f"{path}: does not say which architecture it is of; give --arch ({known})"
        )
    return arch


def _is_hypervisor(headers: Sequence[FileHeader]) -> bool:
    """Whether the dump was taken from outside; the notes stand in the first part."""
    return any(header.from_qemu for header in headers)
