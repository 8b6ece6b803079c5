"""Which architecture a dump is of: by its file, its user, or its VMCOREINFO and notes."""

from __future__ import annotations

from collections.abc import Collection

from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import ARCHITECTURES, Arch, arch_named
from kdump_gdbserver.domain.errors import DumpOpenError, InputError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_KNOWN = ", ".join(ARCHITECTURES)
_PRSTATUS_SIZES = {
    (arch.byte_order, arch.prstatus.size): arch for arch in ARCHITECTURES.values() if arch.prstatus
}


def choose_arch(
    path: str, header: FileHeader, wanted: str | None, vmcoreinfo: Vmcoreinfo | None
) -> Arch | None:
    """Return the architecture, None when only libkdumpfile may know it (other formats).

    What the file says counts first, then what the user says, then the marks in VMCOREINFO and the
    notes. Raises `DumpOpenError` when they contradict each other or name none that is supported.
    """
    named = _named_by_user(path, wanted)
    if header.machine is not None:
        own = arch_named(header.machine)
        if own is None:
            raise DumpOpenError(
                f"{path}: is a dump of '{header.machine}', which is not supported; "
                f"supported are {_KNOWN}"
            )
        if named is not None and named is not own:
            raise DumpOpenError(
                f"{path}: is a dump of {own.name}, not of {named.name}; leave --arch out"
            )
        return own
    return named or detect_arch(header, vmcoreinfo)


def _named_by_user(path: str, wanted: str | None) -> Arch | None:
    if wanted is None:
        return None
    named = arch_named(wanted)
    if named is None:
        raise DumpOpenError(
            f"{path}: unknown architecture '{wanted}'; --arch takes one of {_KNOWN}"
        )
    return named


def detect_arch(header: FileHeader, vmcoreinfo: Vmcoreinfo | None) -> Arch | None:
    """Work the architecture out from VMCOREINFO, else from the notes."""
    order = header.byte_order
    found = _arch_of_vmcoreinfo(vmcoreinfo, order) if vmcoreinfo is not None else None
    if found is None and header.vmcoreinfo:
        try:
            found = _arch_of_vmcoreinfo(Vmcoreinfo.parse(header.vmcoreinfo), order)
        except InputError:
            found = None  # damaged; the notes may still tell
    return found or _arch_of_prstatus(header.prstatus_sizes, order)


def _arch_of_vmcoreinfo(vmcoreinfo: Vmcoreinfo, byte_order: ByteOrder) -> Arch | None:
    """Return the architecture by VMCOREINFO lines that only one kernel port writes.

    Ports of either byte order write the same lines, so the file's must match.
    """
    found = [
        arch
        for arch in ARCHITECTURES.values()
        if arch.byte_order == byte_order
        and any(mark in vmcoreinfo.lines for mark in arch.vmcoreinfo_marks)
    ]
    return found[0] if len(found) == 1 else None


def _arch_of_prstatus(sizes: Collection[int], byte_order: ByteOrder) -> Arch | None:
    """Return the architecture by the size of the NT_PRSTATUS notes, if all agree."""
    found = {_PRSTATUS_SIZES.get((byte_order, size)) for size in sizes}
    return found.pop() if len(found) == 1 else None
