"""fake_kernel: kernel memory laid out plausibly enough to find CPUs and symbols in it."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder
from kdump_gdbserver.domain.arch import X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote
from tests.support.btf_writer import BtfWriter
from tests.support.fake_dump import FakeDump, Segments, facts_of, space_of
from tests.support.kallsyms_writer import write_tables

LINK_TEXT = {
    "x86_64": 0xFFFFFFFF81000000,
    "aarch64": 0xFFFF800008000000,
    "riscv64": 0xFFFFFFFF80000000,
    "ppc64le": 0xC000000000000000,
    "s390x": 0x100000,
}
ELSEWHERE = 0xFFFFFFFF80000000  # for kernels of which nothing more is tried
# What only these kernels have at their beginning: the image's header, and where code follows.
_HEADS = {
    "aarch64": (b"ARM\x64", 0x10000, "NUMBER(MODULES_END)"),
    "riscv64": (b"RSC\x05", 0x2000, "NUMBER(KERNEL_LINK_ADDR)"),
}
_DATA = 0x1000000  # from _text
_PERCPU = 0x1800000  # from _text, where the per-CPU area does not start at zero
_TABLES = 0x2000000
_BTF = 0x2800000
_CPU_AREAS, _CPU_AREA_SIZE = 0x10000000, 0x100000
_TASKS, _TASK_SIZE = 0x20000000, 0x2000
_NOTE_AT, _CURRENT_AT = 0x18000, 0x1FC00  # in a per-CPU area
_RUNQUEUE_AT, _RQ_CURR_AT, _RQ_CPU_AT = 0x1E000, 0x18, 0x40  # in a per-CPU area; in it
_PID_AT, _COMM_AT = 0x4E8, 0x7A0  # in task_struct
_TASK_CPU_AT, _ON_CPU_AT, _LIST_AT = 0x10 + 4, 0x34, 0x400
_TGID_AT, _THREADS_AT, _SIGNAL_AT, _STACK_AT = 0x4EC, 0x5A8, 0x6D0, 0x20
_PRSTATUS_SIZE, _PRSTATUS_REGISTERS = 336, 112

# Names a real kernel has beside the wanted ones; some begin or end like those.
NOISE = (
    *(f"{verb}_{noun}" for verb in ("panic", "crash", "cpu", "init", "do", "nr_cpu", "current")
      for noun in ("ids_max", "notes_size", "task_stack", "hot_line", "offset", "cpus", "online")),
    "panic_cpuhp", "__panic_cpu", "crashing_cpu_list", "xcrash_notes", "nr_cpu_id",
    "q" * 60 + "".join(chr(97 + i * i % 26) for i in range(140)),
)  # fmt: skip


@dataclass(frozen=True)
class FakeKernel:
    """What `fake_kernel` made: memory by named segments, and the truth about it."""

    arch: Arch
    segments: Segments
    symbols: Mapping[str, int]
    vmcoreinfo: str
    notes: Sequence[CpuNote]
    hypervisor: bool
    pids: Mapping[int, int] = field(default_factory=dict)

    def memory(self) -> AddressSpace:
        return space_of(self.segments)

    def dump(self, damage: Callable[[AddressSpace], AddressSpace] | None = None) -> FakeDump:
        return FakeDump(
            self.segments,
            vmcoreinfo=self.vmcoreinfo,
            notes=self.notes,
            facts=facts_of(self.arch, cpu_count=len(self.notes), hypervisor=self.hypervisor),
            damage=damage,
        )

    def without(self, *names: str) -> FakeKernel:
        """Return the kernel with whole segments gone from its dump."""
        assert set(names) <= set(self.segments)
        kept = {name: segment for name, segment in self.segments.items() if name not in names}
        return dataclasses.replace(self, segments=kept)

    def with_bytes(self, name: str, data: bytes, at: int = 0) -> FakeKernel:
        """Return the kernel with bytes of one segment replaced, from `at` on."""
        address, old = self.segments[name]
        new = (old[:at] + data + old[at + len(data) :])[: len(old)]
        return dataclasses.replace(self, segments={**self.segments, name: (address, new)})

    def with_vmcoreinfo(self, change: Callable[[str], str]) -> FakeKernel:
        return dataclasses.replace(self, vmcoreinfo=change(self.vmcoreinfo))


def registers_of(arch: Arch, cpu: int) -> dict[str, int]:
    """Return registers for a CPU; no two CPUs have one alike."""
    text = LINK_TEXT.get(arch.name, ELSEWHERE)
    assert arch.prstatus is not None
    noted = {name for name, _, _ in arch.prstatus.registers}
    return {
        slot.register.name: (
            text + 0x1000 * cpu + 8 * slot.number
            if slot.register.bits == 64
            else 0x40 * cpu + slot.number
        )
        for slot in arch.layout().slots
        if slot.register.name in noted
    }


def fake_kernel(
    arch: Arch = X86_64,
    *,
    possible: int = 4,
    online: Collection[int] | None = None,
    deaf: Collection[int] = (),
    pids: Mapping[int, int] | None = None,
    panic_cpu: int | None = None,
    crashing_cpu: int | None = None,
    hypervisor: bool = False,
    kaslr: int = 0x1E000000,
    absolute_percpu: bool | None = None,
    compress: bool = True,
    current_variable: str | None = "current_task",
    crash_notes: bool = True,
    data_symbols: bool = True,
) -> FakeKernel:
    """Lay out a kernel that has crashed.

    CPUs 0 to `possible` - 1 exist; the `online` ones (all by default) run tasks of `pids`
    (0, idle, by default), the `deaf` ones among them left no registers. `panic_cpu` and
    `crashing_cpu` are the kernel's variables of that name; None leaves the symbol out.
    A `hypervisor` dump has a note for every possible CPU, with index + 1 for its pid and
    no crash notes. What a CPU runs stands in the `current_variable` alone: current_task,
    pcpu_hot, runqueues, or, for init_task, in each task on the task list (idle tasks are not).
    `absolute_percpu` is by default true on x86_64 and false elsewhere. Without
    `data_symbols` kallsyms has functions alone, as without CONFIG_KALLSYMS_ALL.
    """
    absolute = arch is X86_64 if absolute_percpu is None else absolute_percpu
    cpus = range(possible)
    up = sorted(cpus if online is None else online)
    running = {cpu: (pids or {}).get(cpu, 0) for cpu in up}
    text = LINK_TEXT.get(arch.name, ELSEWHERE) + kaslr
    percpu_start = 0 if absolute else text + _PERCPU
    order, size = arch.byte_order, arch.pointer_size

    def pack(value: int, width: int = size) -> bytes:
        return (value & (1 << 8 * width) - 1).to_bytes(width, order)

    areas = {cpu: text + _CPU_AREAS + cpu * _CPU_AREA_SIZE for cpu in cpus}
    mask = sum(1 << cpu for cpu in up)
    variables = {
        "nr_cpu_ids": pack(possible, 4),
        "__cpu_online_mask": pack(mask, 8 * max(1, -(-possible // 64))),
        "__per_cpu_offset": b"".join(pack(areas[cpu] - percpu_start) for cpu in cpus),
    }
    if crash_notes:
        variables["crash_notes"] = pack(percpu_start + _NOTE_AT)
    for name, number in (("panic_cpu", panic_cpu), ("crashing_cpu", crashing_cpu)):
        if number is not None:
            variables[name] = pack(number, 4)
    magic, code, link_address = _HEADS.get(arch.name, (b"\x90" * 4, 0, ""))
    head = b"\x90" * 56 + magic + b"\x90" * 4
    segments: dict[str, tuple[int, bytes]] = {"text": (text, head)}
    symbols = {"_text": text, "_stext": text + code}
    at = text + _DATA
    for name, data in variables.items():
        symbols[name] = at
        segments[name] = (at, data)
        at += -(-len(data) // 64) * 64 + 64
    if current_variable == "runqueues":
        symbols[current_variable] = percpu_start + _RUNQUEUE_AT
    elif current_variable not in (None, "init_task"):
        symbols[current_variable] = percpu_start + _CURRENT_AT
    symbols["init_task"] = text + _TASKS - _TASK_SIZE
    symbols["init_pid_ns"] = symbols["init_task"] - 0x100

    registers = {cpu: registers_of(arch, cpu) for cpu in cpus}
    for cpu in cpus:
        silent = hypervisor or cpu not in running or cpu in deaf
        note = bytes(1024) if silent else _note(arch, running[cpu], registers[cpu])
        segments[f"crash note {cpu}"] = (areas[cpu] + _NOTE_AT, note)
        task = text + _TASKS + cpu * _TASK_SIZE
        segments[f"current {cpu}"] = (areas[cpu] + _CURRENT_AT, pack(task))
        queue = bytes(_RQ_CURR_AT) + pack(task) + bytes(_RQ_CPU_AT - _RQ_CURR_AT - size)
        segments[f"runqueue {cpu}"] = (areas[cpu] + _RUNQUEUE_AT, queue + pack(cpu, 4))
    by_tasks = current_variable == "init_task"
    listed = [cpu for cpu in cpus if running.get(cpu)]
    ring = [symbols["init_task"], *(text + _TASKS + cpu * _TASK_SIZE for cpu in listed)]
    following = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
    for cpu in (-1, *cpus):
        task = text + _TASKS + cpu * _TASK_SIZE
        link = pack(following.get(task, task) + _LIST_AT)
        on_cpu = by_tasks and cpu in listed
        content = _task(arch, running.get(cpu, 0), max(cpu, 0), on_cpu, link + pack(task))
        segments[f"task {cpu}" if cpu >= 0 else "init_task"] = (task, content)

    btf = _btf(order)
    segments["btf"] = (text + _BTF, btf)
    symbols |= {"__start_BTF": text + _BTF, "__stop_BTF": text + _BTF + len(btf)}

    everything = symbols | {name: text + 0x100 + 16 * i for i, name in enumerate(NOISE)}
    functions = {name: everything[name] for name in ("_stext", *NOISE)}
    tables = write_tables(
        everything if data_symbols else functions, text, order,
        absolute_percpu=absolute, compress=compress,
        kinds={"_text": "T", "_stext": "T", "crash_notes": "B", "nr_cpu_ids": "R"},
    )  # fmt: skip
    lines = ["OSRELEASE=6.6.0-fake", "PAGESIZE=4096", f"SYMBOL(_stext)={text + code:x}"]
    lines += [f"{link_address}={LINK_TEXT.get(arch.name, ELSEWHERE):#x}"] if link_address else []
    lines += [f"KERNELOFFSET={kaslr:x}"]
    at = text + _TABLES
    for name, data in tables.parts().items():
        segments[f"kallsyms_{name}"] = (at, data)
        lines.append(f"SYMBOL(kallsyms_{name})={at:x}")
        at += -(-len(data) // 8) * 8
    if not hypervisor:
        lines.append("CRASHTIME=1700000000")

    if hypervisor:
        notes = [CpuNote(cpu, cpu + 1, registers[cpu]) for cpu in cpus]
    else:
        heard = [cpu for cpu in up if cpu not in deaf]
        notes = [CpuNote(i, running[cpu], registers[cpu]) for i, cpu in enumerate(heard)]
    return FakeKernel(
        arch, segments, everything, "\n".join(lines) + "\n", notes, hypervisor, running
    )


def _note(arch: Arch, pid: int, registers: Mapping[str, int]) -> bytes:
    """Return a per-CPU crash note: ELF note header, name, elf_prstatus."""
    prefix = "<" if arch.byte_order == "little" else ">"
    status = bytearray(_PRSTATUS_SIZE)
    status[32:36] = pid.to_bytes(4, arch.byte_order)
    values = b"".join(
        registers[slot.register.name].to_bytes(8, arch.byte_order)
        for slot in arch.layout().slots
        if slot.register.name in registers
    )
    status[_PRSTATUS_REGISTERS:] = values
    header = struct.pack(prefix + "3I", 5, len(status), 1) + b"CORE\0\0\0\0"
    return (header + bytes(status)).ljust(1024, b"\0")


def _btf(order: ByteOrder) -> bytes:
    writer = BtfWriter(order)
    number, char = writer.integer("int", 4, encoding=1), writer.integer("char", 1)
    pointer = writer.pointer(0)
    name = writer.array(char, number, 16)
    listed = writer.struct("list_head", 16, [("next", pointer, 0), ("prev", pointer, 64)])
    info = writer.struct("thread_info", 16, [("flags", number, 0), ("cpu", number, 32)])
    writer.add(7, "task_struct")  # declared before it is defined
    members = [("thread_info", info, _TASK_CPU_AT - 4), ("on_cpu", number, _ON_CPU_AT)]
    members += [("tasks", listed, _LIST_AT), ("pid", number, _PID_AT), ("comm", name, _COMM_AT)]
    members += [("tgid", number, _TGID_AT), ("signal", pointer, _SIGNAL_AT)]
    members += [("thread_node", listed, _THREADS_AT), ("stack", pointer, _STACK_AT)]
    writer.struct("thread_union", _TASK_SIZE, [("stack", pointer, 0)], union=True)
    writer.struct("signal_struct", 0x400, [("thread_head", listed, 8 * 0x10)])
    writer.struct("task_struct", _TASK_SIZE, [(n, t, 8 * at) for n, t, at in members])
    queue = [("curr", pointer, 8 * _RQ_CURR_AT), ("cpu", number, 8 * _RQ_CPU_AT)]
    writer.struct("rq", _RQ_CPU_AT + 64, queue)
    return writer.blob()


def _task(arch: Arch, pid: int, cpu: int, on_cpu: bool, pointers: bytes) -> bytes:
    """Return a task; `pointers` are its link in the list of tasks, and its stack."""
    link, stack = pointers[: len(pointers) // 2], pointers[len(pointers) // 2 :]
    task = bytearray(_COMM_AT + 16)
    task[_LIST_AT : _LIST_AT + len(link)] = link
    task[_STACK_AT : _STACK_AT + len(stack)] = stack
    task[_TASK_CPU_AT : _TASK_CPU_AT + 4] = cpu.to_bytes(4, arch.byte_order)
    task[_ON_CPU_AT : _ON_CPU_AT + 4] = on_cpu.to_bytes(4, arch.byte_order)
    for at in (_PID_AT, _TGID_AT):
        task[at : at + 4] = pid.to_bytes(4, arch.byte_order)
    task[_COMM_AT : _COMM_AT + 4] = b"task"
    return bytes(task)
