"""What drgn tells of a dump, as JSON; run in a process of its own.

usage: python -m tests.real.oracle.drgn_side tell FOLDER VMLINUX < {"pids": [...]}
       python -m tests.real.oracle.drgn_side read DUMP < [[address, length], ...]

FOLDER is that of a real dump; its ELF form is opened, since drgn reads that by itself.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import drgn
from drgn.helpers.linux.mm import (
    access_process_vm,
    follow_phys,
    for_each_vma,
    for_each_vmap_area,
    phys_to_virt,
)
from drgn.helpers.linux.percpu import per_cpu_ptr
from drgn.helpers.linux.pid import find_task, for_each_task, for_each_task_in_group
from drgn.helpers.linux.sched import cpu_curr, idle_task, task_state_to_char

from tests.real.oracle.dump_file import PhysicalMemory, guest_vmcoreinfo
from tests.real.oracle.sv_pages import VirtualMemory, frame_pointers

GLOBALS = 60
ADDRESSES = 2000
USER_ADDRESSES = 250
_PPC64LE = drgn.Platform(
    drgn.Architecture.PPC64,
    drgn.PlatformFlags.IS_64_BIT | drgn.PlatformFlags.IS_LITTLE_ENDIAN,
)
# Of which drgn's page-table walk knows the kernel's tables as well.
_WALKED = (drgn.Architecture.X86_64, drgn.Architecture.AARCH64)
_LENGTHS = (1, 4, 8, 16, 32)
_MOST_CHAIN = 100
_NO_STACK = (ValueError, LookupError, NotImplementedError, drgn.FaultError)
_TOP_BIT = 1 << 63
_PPC_DIRECT = 0xC << 60

# Those that people look at first; the rest are chosen by chance from all global variables.
_KNOWN_GLOBALS = (
    "init_task init_mm init_uts_ns init_pid_ns init_net init_cred modules jiffies_64 linux_banner "
    "saved_command_line panic_cpu nr_cpu_ids root_task_group system_state tainted_mask "
    "high_memory max_pfn total_swap_pages vm_committed_as __per_cpu_offset oops_in_progress"
).split()


def _numbers(listed: str | list[int]) -> list[int]:
    """The CPUs of a list as the kernel writes it: "0,2-3"."""
    if not isinstance(listed, str):
        return listed
    ends = [[int(word) for word in part.split("-")] for part in listed.split(",")]
    return [cpu for part in ends for cpu in range(part[0], part[-1] + 1)]


class Teller:
    """Asks one program, with everything by chance from one seed, so that runs are alike."""

    def __init__(self, folder: Path, vmlinux: Path) -> None:
        self.chance = random.Random(1)
        self.facts = json.loads((folder / "facts.json").read_text())
        # As they were before the panic, which takes all but one offline.
        self.cpus = _numbers(self.facts["cpus_online"])
        self.by_own_walk: VirtualMemory | None = None
        self.program = self._opened(folder / "dumps/elf", vmlinux)
        self.page_size = int(self.program["PAGE_SIZE"])

    def _opened(self, dump: Path, vmlinux: Path) -> drgn.Program:
        physical = PhysicalMemory(dump)
        info, own = None, None
        if not physical.has_vmcoreinfo:
            info = guest_vmcoreinfo(physical, self.facts["vmcoreinfo_note"])
        # QEMU writes the byte order that a CPU was in, and firmware of ppc64le is big-endian.
        platform = _PPC64LE if physical.machine == "EM_PPC64" else None
        program = drgn.Program(platform, vmcoreinfo=info)
        program.set_core_dump(dump)
        if info is not None:
            # drgn takes addresses of 0 in all segments for physical ones that are not known.
            for start, size in physical.ranges:
                program.add_memory_segment(start, size, physical.read_for_drgn, True)
                if program.platform.arch is drgn.Architecture.PPC64:
                    # Its own kdumps tell drgn by their segments where all memory is mapped.
                    program.add_memory_segment(_PPC_DIRECT + start, size, physical.read_for_drgn)
        if program.platform.arch is drgn.Architecture.RISCV64:  # drgn walks no page tables of it
            raw = info or program["VMCOREINFO"].string_()
            own = self.by_own_walk = VirtualMemory(physical, raw.decode())
            program.add_memory_segment(_TOP_BIT, _TOP_BIT, own.read_for_drgn)
        with contextlib.suppress(drgn.MissingDebugInfoError):  # modules have none here
            program.load_debug_info([vmlinux])
        return program

    def tell(self, pids: list[int]) -> dict[str, Any]:
        """Everything."""
        return {
            "globals": self.globals(),
            "memory": self.memory(),
            "tasks": self.tasks(),
            "registers": self.registers(),
            "chains": self._chains(self._all_tasks()),
            "cpu_chains": self._chains(
                (str(cpu), cpu_curr(self.program, cpu)) for cpu in self.cpus
            ),
            "processes": {pid: self.process(pid) for pid in pids},
        }

    def read(self, address: int, length: int) -> str | None:
        """Memory of the kernel in hexadecimal, None where there is none."""
        try:
            return self.program.read(address, length).hex()
        except drgn.FaultError:
            return None

    # -- variables ---------------------------------------------------------------------------

    def globals(self) -> dict[str, list[Any]]:
        """Name: address, size, value in hexadecimal."""
        places = self._variables()
        names = [name for name in _KNOWN_GLOBALS if name in places]
        others = sorted(set(places) - set(names))
        names += self.chance.sample(others, GLOBALS - len(names))
        return {name: [*places[name], self.read(*places[name])] for name in names}

    def _variables(self) -> dict[str, tuple[int, int]]:
        """Address and size of each global variable whose name is one symbol's alone."""
        start = self.program.symbol("_sdata").address
        end = self.program.symbol("_edata").address
        found: dict[str, list[drgn.Symbol]] = {}
        for symbol in self.program.symbols():
            found.setdefault(symbol.name, []).append(symbol)
        return {
            name: (symbols[0].address, symbols[0].size)
            for name, symbols in found.items()
            if len(symbols) == 1 and symbols[0].binding is drgn.SymbolBinding.GLOBAL
            and symbols[0].kind is drgn.SymbolKind.OBJECT
            and 0 < symbols[0].size <= 16384 and start <= symbols[0].address < end
        }  # fmt: skip

    # -- memory ------------------------------------------------------------------------------

    def memory(self) -> dict[str, list[list[Any]]]:
        """By kind: address, length, value in hexadecimal or None."""
        kinds: dict[str, list[tuple[int, int]]] = {
            "text": [self._between("_stext", "_etext")],
            "data": [self._between("_sdata", "_edata"), self._between("__bss_start", "__bss_stop")],
            "direct map": list(self._direct_map()),
            "vmalloc": list(self._vmalloc()),
            "per-CPU": list(self._per_cpu()),
        }
        known = {kind: ranges for kind, ranges in kinds.items() if ranges}
        return {
            kind: [self._sample(ranges) for _ in range(ADDRESSES // len(known))]
            for kind, ranges in known.items()
        }

    def _between(self, first: str, last: str) -> tuple[int, int]:
        return self.program.symbol(first).address, self.program.symbol(last).address

    def _direct_map(self) -> Iterator[tuple[int, int]]:
        for task in for_each_task(self.program):
            yield int(task), int(task) + drgn.sizeof(task[0])
        for start, end, name in self._ram():
            if name == "System RAM":
                if self.by_own_walk is not None:
                    virtual = self.by_own_walk.direct(start)
                else:
                    virtual = int(phys_to_virt(self.program, start))
                yield virtual, virtual + end - start

    def _ram(self) -> Iterator[tuple[int, int, str]]:
        for line in self.facts["iomem"].splitlines():
            place, _, name = line.partition(" : ")
            if not line.startswith(" "):
                start, end = (int(word, 16) for word in place.split("-"))
                yield start, end + 1, name

    def _vmalloc(self) -> Iterator[tuple[int, int]]:
        for area in for_each_vmap_area(self.program):
            if area.vm:
                yield int(area.va_start), int(area.va_end)

    def _per_cpu(self) -> Iterator[tuple[int, int]]:
        start, end = self._between("__per_cpu_start", "__per_cpu_end")
        for cpu in self.cpus:
            first = int(per_cpu_ptr(drgn.Object(self.program, "void *", start), cpu))
            yield first, first + end - start

    def _sample(self, ranges: list[tuple[int, int]]) -> list[Any]:
        start, end = self.chance.choice(ranges)
        length = self.chance.choice(_LENGTHS)
        address = self.chance.randrange(start, max(start + 1, end - length))
        value = self.read(address, length)
        return [address, length, value if self._is_mapped(address) else None]

    def _is_mapped(self, address: int) -> bool:
        """Whether drgn's own walk of the kernel's page tables leads somewhere, where it has one.

        It reads /proc/vmcore by the addresses in the file's segments, and so also what the kernel
        has unmapped of its image (its code for starting up).
        """
        if self.program.platform.arch not in _WALKED:
            return True
        try:
            follow_phys(self.program["init_mm"].address_of_(), address)
        except drgn.FaultError:
            return False
        except _NO_STACK:
            pass
        return True

    # -- tasks -------------------------------------------------------------------------------

    def tasks(self) -> list[dict[str, Any]]:
        """Every task but those of idle CPUs."""
        return [
            {
                "tgid": int(task.tgid), "pid": int(task.pid), "ppid": int(task.real_parent.tgid),
                "comm": task.comm.string_().decode(errors="replace"),
                "state": task_state_to_char(task), "uid": int(task.real_cred.uid.val),
            }
            for task in for_each_task(self.program)
        ]  # fmt: skip

    def _all_tasks(self) -> Iterator[tuple[str, drgn.Object]]:
        for cpu in self.cpus:
            yield f"swapper/{cpu}", idle_task(self.program, cpu)
        for task in for_each_task(self.program):
            yield str(int(task.pid)), task

    def registers(self) -> dict[str, Any]:
        """By CPU: registers as the dump's notes have them, or why there are none."""
        told: dict[str, Any] = {}
        for cpu in self.cpus:
            try:
                told[str(cpu)] = self.program.stack_trace(cpu_curr(self.program, cpu))[
                    0
                ].registers()
            except _NO_STACK as error:
                told[str(cpu)] = str(error)
        return told

    # -- call chains -------------------------------------------------------------------------

    def _chains(self, tasks: Iterable[tuple[str, drgn.Object]]) -> dict[str, Any]:
        """By key: [pc, function] of each frame but inlined ones, or why there is none."""
        told: dict[str, Any] = {}
        for key, task in tasks:
            try:
                told[key] = self._chain(task)
            except _NO_STACK as error:
                told[key] = f"{type(error).__name__}: {error}"
        return told

    def _chain(self, task: drgn.Object) -> list[tuple[int, str | None]]:
        if self.by_own_walk is not None:
            return [(pc, self._function(pc)) for pc in frame_pointers(self.program, task)]
        if self.program.platform.arch is drgn.Architecture.PPC64 and task.on_cpu:
            raise ValueError("drgn takes the link register for a CPU's pc on ppc64")
        chain: list[tuple[int, str | None]] = []
        trace = self.program.stack_trace(task)
        for number in range(min(len(trace), _MOST_CHAIN)):
            frame = trace[number]
            if not frame.is_inline:
                chain.append((frame.pc, self._name(frame)))
        return chain

    def _name(self, frame: drgn.StackFrame) -> str | None:
        if frame.function_name is not None:
            return str(frame.function_name)
        with contextlib.suppress(LookupError):
            return str(frame.symbol().name)
        return None

    def _function(self, pc: int) -> str | None:
        with contextlib.suppress(LookupError):
            return str(self.program.symbol(pc - 1).name)
        return None

    # -- processes ---------------------------------------------------------------------------

    def process(self, pid: int) -> dict[str, Any]:
        """The user memory and the threads of a process."""
        task = find_task(self.program, pid)
        if not task or not task.mm:
            return {"absent": "the process has no memory any more"}
        areas = [(int(vma.vm_start), int(vma.vm_end)) for vma in for_each_vma(task.mm)]
        return {
            "memory": [self._user_sample(task, areas) for _ in range(USER_ADDRESSES)],
            "threads": {
                int(thread.pid): self._user_registers(thread)
                for thread in for_each_task_in_group(task, include_self=True)
                if not thread.on_cpu
            },
        }

    def _user_registers(self, task: drgn.Object) -> dict[str, int]:
        """All integers of the struct pt_regs at the end of a task's kernel stack."""
        if self.program.platform.arch is drgn.Architecture.PPC64:
            place = int(task.thread.regs)
        else:
            # The area of a stack has a guard page, which its size counts.
            size = int(task.stack_vm_area.size) - self.page_size
            place = int(task.stack) + size - drgn.sizeof(self.program.type("struct pt_regs"))
            if self.program.platform.arch is drgn.Architecture.X86_64:
                # Kernels that know FRED leave 16 bytes; the code segment tells.
                segments = self.program.read_u16(place - 16 + 8 * 17)
                place -= 16 if segments in (0x23, 0x33) else 0
            elif self.program.platform.arch is drgn.Architecture.RISCV64:
                place = place & -16
        return dict(_integers("", drgn.Object(self.program, "struct pt_regs", address=place)))

    def _user_sample(self, task: drgn.Object, areas: list[tuple[int, int]]) -> list[Any]:
        start, end = self.chance.choice(areas)
        length = self.chance.choice(_LENGTHS)
        address = self.chance.randrange(start, end - length)
        try:
            if self.by_own_walk is not None:
                root = self.by_own_walk.page(int(task.mm.pgd))
                return [address, length, self.by_own_walk.read(address, length, root).hex()]
            return [address, length, access_process_vm(task, address, length).hex()]
        except (drgn.FaultError, LookupError):
            return [address, length, None]


def _integers(name: str, value: drgn.Object) -> Iterator[tuple[str, int]]:
    """Name and value of all integers in a structure, `gprs[1]` for those of an array."""
    kind = value.type_
    while kind.kind is drgn.TypeKind.TYPEDEF:
        kind = kind.type
    if kind.kind is drgn.TypeKind.INT:
        yield name, int(value)
    elif kind.kind is drgn.TypeKind.ARRAY:
        for index in range(kind.length or 0):
            yield from _integers(f"{name}[{index}]", value[index])
    elif kind.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        for member in kind.members:
            if member.bit_field_size is None:
                inner = value.subobject_(member.name) if member.name else None
                if inner is None:
                    inner = drgn.Object(
                        value.prog_, member.type, address=value.address_ + member.offset
                    )
                path = ".".join(filter(None, (name, member.name)))
                yield from _integers(path, inner)


def read(dump: str) -> list[str | None]:
    """Kernel memory of any form of dump, as standard input asks for it."""
    program = drgn.Program()
    program.set_core_dump(dump)
    told: list[str | None] = []
    for address, length in json.load(sys.stdin):
        try:
            told.append(program.read(address, length).hex())
        except drgn.FaultError:
            told.append(None)
    return told


def main(what: str, *arguments: str) -> None:
    if what == "tell":
        folder, vmlinux = arguments
        json.dump(
            Teller(Path(folder), Path(vmlinux)).tell(json.load(sys.stdin)["pids"]), sys.stdout
        )
    else:
        json.dump(read(*arguments), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
