"""FakeDump: a crash dump in memory; implements `ports.crash_dump.CrashDump`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.page_walk import FilePlace, PageWalk, TableEntry
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

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
    page walks lead there.
    `damage` is laid between the kernel's memory and its reader, to fake a broken dump.
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
        self._physical = physical or {
            name: (address & _PHYSICAL, data) for name, (address, data) in self.segments.items()
        }
        self._processes = processes or {}
        self._damage = damage

    def kernel(self) -> AddressSpace:
        memory = space_of(self.segments)
        return self._damage(memory) if self._damage else memory

    def physical(self) -> AddressSpace:
        return space_of(self._physical)

    def process(self, root_table: int) -> AddressSpace:
        if root_table not in self._processes:
            raise MemoryFault(root_table, FaultReason.UNMAPPED, "no such page table")
        return space_of(self._processes[root_table])

    def page_walk(self, address: int, root_table: int | None = None) -> PageWalk:
        if root_table is not None and root_table not in self._processes:
            raise MemoryFault(root_table, FaultReason.UNMAPPED, "no such page table")
        segments = self.segments if root_table is None else self._processes[root_table]
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

    def file_place(self, physical: int) -> FilePlace | None:
        page = physical - physical % _SPANS[0]
        for at, data in self._physical.values():
            if at < page + _SPANS[0] and page < at + len(data):
                return FilePlace(self.facts.paths[0], page, _SPANS[0], "as it is")
        return None

    def stored_memory(self) -> int:
        return sum(len(data) for _, data in self._physical.values())

    def cpu_notes(self) -> Sequence[CpuNote]:
        return self.notes

    def close(self) -> None:
        self.closed = True


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
        self._symbols = symbols

    def symbols(self, names: object) -> Mapping[str, int]:
        self.asked += 1
        assert isinstance(names, tuple)
        return {name: self._symbols[name] for name in names if name in self._symbols}
