"""Monitor commands about memory: vtop, why, phys, mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdump_gdbserver.application.monitor.monitor_target import (
    MonitorTarget,
    address_of,
    expect,
    length_of,
)
from kdump_gdbserver.domain.errors import FaultReason, InputError, MemoryFault
from kdump_gdbserver.domain.page_walk import PageWalk, flag_names, level_name

_ROW = 16
_MOST = 1 << 20  # bytes that `phys` shows at most


def walk_to(target: MonitorTarget, address: int) -> PageWalk:
    """Walk to an address by the page table it belongs to."""
    return target.memory.walk(address, target.root_table)


def _address(name: str, arguments: Sequence[str]) -> int:
    """Return the only argument; the words of an expression are taken for one."""
    expect(f"{name} ADDR", arguments[:1], 1)
    return address_of(" ".join(arguments), f"{name} %p")


def vtop(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str]:
    """Yield each step of a walk: the table, the entry, its flags; then the page's places."""
    address = _address("vtop", arguments)
    walk = walk_to(target, address)
    yield f"virtual   {address:#x}"
    top = walk.entries[0].level if walk.entries else 0
    for entry in walk.entries:
        names = flag_names(target.dump.facts.arch.entry_flags, entry.value)
        shown = ", ".join(names) if entry.value else "empty"
        name = level_name(entry.level, top)
        yield f"{name:<9} at {entry.address:#x}: {entry.value:#018x} ({shown})"
    if walk.physical is None:
        yield f"no page: {_reason(walk)}"
        return
    if walk.entries and not walk.entries[-1].value & 1:
        yield "the entry is hidden from the hardware (PROT_NONE or NUMA balancing)"
    size = walk.page_size
    how = "without a page table" if size is None else f"in a page of {_size(size)}"
    yield f"physical  {walk.physical:#x}, {how}"
    yield from _place(target, walk.physical)


def _reason(walk: PageWalk) -> str:
    text = walk.fault.value if walk.fault else "not known"
    return f"{text} ({walk.detail})" if walk.detail else text


def _size(size: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >> shift:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def _place(target: MonitorTarget, physical: int) -> Iterator[str]:
    if target.dump.places is None:
        return
    place = target.dump.places.find(physical)
    if place is None:
        yield f"file      nowhere: {_missing(target, physical)}"
        return
    if place.codec is None:
        stored = f"{place.length:#x} bytes, as it is"
    else:
        stored = (
            f"byte {place.inside:#x} of a page, {place.length} bytes compressed with {place.codec}"
        )
    if place.rearranged:
        stored += ", at this offset of the rearranged dump"
    yield f"file      {place.path} at {place.offset:#x} ({stored})"


def _missing(target: MonitorTarget, physical: int) -> str:
    try:
        target.dump.physical().read(physical, 1)
    except MemoryFault as fault:
        facts = target.dump.facts
        if fault.reason is FaultReason.EXCLUDED and facts.missing_pages:
            return f"{fault.reason.value}; {facts.missing_pages}"
        return fault.reason.value
    return "the page is all zeros and was not stored"


def why(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str]:
    """Yield in one or two lines why an address can or cannot be read."""
    address = _address("why", arguments)
    try:
        target.session.read_memory(address, 1)
    except MemoryFault as fault:
        yield f"{address:#x} cannot be read: {fault.reason.value}"
        yield from _why_not(target, address, fault)
        return
    yield f"{address:#x} can be read"
    if not target.physical.active:
        walk = walk_to(target, address)
        if walk.physical is not None:
            yield f"it is at physical address {walk.physical:#x}"


def _why_not(target: MonitorTarget, address: int, fault: MemoryFault) -> Iterator[str]:
    physical: int | None = address if target.physical.active else None
    if physical is None:
        walk = walk_to(target, address)
        physical = walk.physical
        if physical is None:
            yield f"the page tables have no page there: {_reason(walk)}"
            return
        yield f"the page tables say that it is at physical address {physical:#x}"
    if fault.reason is FaultReason.EXCLUDED:
        yield target.dump.facts.missing_pages or "the dump has no memory at that address"
    elif fault.detail:
        yield fault.detail


def phys(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str]:
    """Yield a hex dump of physical memory, 16 bytes a line."""
    expect("phys ADDR LEN", arguments, 2)
    length = length_of(arguments[1])
    address = address_of(arguments[0], f"phys %p {arguments[1]}")
    if length > _MOST:
        raise InputError(f"phys shows at most {_MOST:#x} bytes; use gdb's dump for more")
    memory, end = target.dump.physical(), address + length
    while address < end:
        data = memory.read(address, min(end - address, 0x1000))
        for start in range(0, len(data), _ROW):
            yield _row(address + start, data[start : start + _ROW])
        address += len(data)


def _row(address: int, data: bytes) -> str:
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{address:016x}  {data.hex(' '):<{3 * _ROW}} {text}"


def mode(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str]:
    """Switch the session between physical and virtual addresses, and say which it is."""
    if list(arguments) in (["physical"], ["virtual"]):
        target.physical.switch(arguments[0] == "physical")
    elif arguments:
        raise InputError("mode takes 'physical' or 'virtual'")
    kind = "physical" if target.physical.active else "virtual"
    yield f"addresses are {kind}"
    if arguments:
        yield "gdb may hold memory it has read before: 'maint flush dcache' makes it forget that"
