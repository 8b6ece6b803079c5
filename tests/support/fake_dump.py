"""FakeDump: a crash dump in memory; implements `ports.crash_dump.CrashDump`.

It has no page tables: its `translation` knows where everything is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts, FilePlace
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.kernel.types import Member, Types
from kdump_gdbserver.domain.page_tables import Translator
from kdump_gdbserver.domain.page_walk import PageWalk, TableEntry
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import Translation

_PHYSICAL = (1 << 48) - 1
_SPANS = (1 << 12, 1 << 21, 1 << 30, 1 << 39)  # of an entry in each table, bytes
# A named piece of memory: where it is and what it holds.
Segments = Mapping[str, tuple[int, bytes]]


def space_of(segments: Segments) -> SegmentedAddressSpace:
    return SegmentedAddressSpace({address: data for address, data in segments.values() if data})


def facts_of(arch: Arch = X86_64, *, cpu_count: int = 0, hypervisor: bool = False) -> DumpFacts:
    return DumpFacts(
        paths=("/nowhere/vmcore",),
        format="fake",
        arch=arch,
        page_size=4096,
        cpu_count=cpu_count,
        hypervisor=hypervisor,
    )


class FakeDump:
    """A dump made of named segments.

    Without `physical`, physical memory is the kernel's at addresses cut to 48 bits, and
    page walks lead there; that of `processes`, by the physical address of their top page table,
    is behind it. `damage` is laid between physical memory and its reader, to fake a broken dump.
    """

    def __init__(
        self,
        segments: Segments | None = None,
        *,
        vmcoreinfo: str = "",
        notes: Sequence[CpuNote] = (),
        facts: DumpFacts | None = None,
        physical: Segments | None = None,
        processes: Mapping[int, Segments] | None = None,
        damage: Callable[[AddressSpace], AddressSpace] | None = None,
    ) -> None:
        self.segments = dict(segments or {})
        self.vmcoreinfo = Vmcoreinfo.parse(vmcoreinfo.encode()) if vmcoreinfo else Vmcoreinfo({})
        self.notes = tuple(notes)
        self.facts = facts or facts_of(cpu_count=len(self.notes))
        self.closed = False
        self._kernel = physical or {
            name: (address & _PHYSICAL, data) for name, (address, data) in self.segments.items()
        }
        self.processes = dict(processes or {})
        self._damage = damage
        self.trouble: str | None = None
        self.user_end = 1 << 63

    @property
    def places(self) -> FakeDump:
        return self

    @property
    def translation(self) -> Translation | None:
        return self

    def physical(self) -> AddressSpace:
        if self.closed:
            raise ValueError("the dump is closed")
        of_processes = {
            (root, name): (_base_of(root) + address, data)
            for root, segments in self.processes.items()
            for name, (address, data) in segments.items()
        }
        memory = SegmentedAddressSpace(
            {at: data for at, data in (*self._kernel.values(), *of_processes.values()) if data}
        )
        return self._damage(memory) if self._damage else memory

    def kernel(self) -> Translator:
        return _Shift(self.segments, lambda address: address & _PHYSICAL)

    def process(self, root: int) -> Translator:
        return _Shift(self._process(root), lambda address: _base_of(root) + address)

    def _process(self, root: int) -> Segments:
        if root not in self.processes:
            raise MemoryFault(root, FaultReason.UNMAPPED, "no such page table")
        return self.processes[root]

    def walk(self, address: int, root: int | None = None) -> PageWalk:
        segments = self.segments if root is None else self._process(root)
        for level, span in enumerate(_SPANS, start=1):
            start = address - address % span
            hit = any(
                at < start + span and start < at + len(data) for at, data in segments.values()
            )
            if hit and level > 1:
                break  # the hole is as wide as the span before
            if hit:
                entry = TableEntry(1, 0x1000, start & _PHYSICAL | 1)
                return PageWalk(address, (entry,), span, address & _PHYSICAL, span)
            hole = PageWalk(
                address, (TableEntry(level, 0x2000, 0),), span, fault=FaultReason.UNMAPPED
            )
        return hole

    def find(self, physical: int) -> FilePlace | None:
        page = physical - physical % _SPANS[0]
        for at, data in self._kernel.values():
            if at < page + _SPANS[0] and page < at + len(data):
                return FilePlace(self.facts.paths[0], page, _SPANS[0])
        return None

    def stored_memory(self) -> int:
        return sum(len(data) for _, data in self._kernel.values())

    def cpu_notes(self) -> Sequence[CpuNote]:
        return self.notes

    def close(self) -> None:
        self.closed = True


def _base_of(root: int) -> int:
    """Return where the memory of a process begins, behind that of the kernel."""
    return root + 1 << 52


class _Shift(Translator):
    """Addresses of some segments, moved in one piece."""

    page_size = 1  # no more of a page is mapped than a segment has

    def __init__(self, segments: Segments, where: Callable[[int], int]) -> None:
        self._segments = segments
        self._where = where

    def run(self, address: int, end: int) -> tuple[int, int]:
        for at, data in self._segments.values():
            if at <= address < at + len(data):
                return self._where(address), min(end, at + len(data)) - address
        raise MemoryFault(address, FaultReason.UNMAPPED)


class FakeSymbolFile:
    """A symbol file in memory; implements `ports.symbol_file.SymbolFile`."""

    def __init__(
        self,
        symbols: Mapping[str, int],
        first_segment: int = 0,
        build_id: str | None = None,
        machine: int = X86_64.elf_machine,
        has_symbols: bool = True,
    ) -> None:
        self.path = "vmlinux"
        self.build_id = build_id
        self.machine = machine
        self.has_symbols = has_symbols
        self.first_segment = first_segment
        self.asked = 0
        self.symbols = symbols

    def types(self, load_offset: int) -> Types:
        self.asked += 1
        return _MovedSymbols(self, load_offset)


class _MovedSymbols(Types):
    """The symbols of a file; those below its first segment are per-CPU ones and do not move."""

    def __init__(self, file: FakeSymbolFile, offset: int) -> None:
        self._file, self._offset = file, offset

    def symbol(self, name: str) -> int | None:
        address = self._file.symbols.get(name)
        if address is None or address < self._file.first_segment:
            return address
        return address + self._offset

    def size(self, type_name: str) -> int | None:
        return None

    def member(self, type_name: str, path: str) -> Member | None:
        return None
