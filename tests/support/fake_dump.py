"""FakeDump: a crash dump in memory; implements `ports.crash_dump.CrashDump`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

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
        self._physical = physical or {}
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

    def cpu_notes(self) -> Sequence[CpuNote]:
        return self.notes

    def close(self) -> None:
        self.closed = True


class FakeSymbolFile:
    """A symbol file in memory; implements `ports.symbol_file.SymbolFile`."""

    def __init__(
        self, symbols: Mapping[str, int], first_segment: int = 0, build_id: str | None = None
    ) -> None:
        self.build_id = build_id
        self.first_segment = first_segment
        self.asked = 0
        self._symbols = symbols

    def symbols(self, names: object) -> Mapping[str, int]:
        self.asked += 1
        assert isinstance(names, tuple)
        return {name: self._symbols[name] for name in names if name in self._symbols}
