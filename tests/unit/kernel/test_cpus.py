"""identify_cpus and find_panic_cpu: registers go to the CPU they came from."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.cpus import Cpu, identify_cpus
from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols, kernel_memory
from kdump_gdbserver.application.kernel.panic_cpu import PanicCpu, find_panic_cpu
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, RISCV64, X86_64, Arch
from kdump_gdbserver.domain.dump_facts import CpuNote
from kdump_gdbserver.domain.kernel.symbols import Symbols
from tests.support.fake_kernel import FakeKernel, fake_kernel, registers_of

every_arch = pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)


def symbols_of(kernel: FakeKernel) -> Symbols:
    dump = kernel.dump()
    types = KernelSymbols(DumpMemory(dump).kernel(), dump.vmcoreinfo, kernel.arch)
    return Symbols(types, kernel_memory(kernel.memory(), kernel.arch))


def cpus_of(kernel: FakeKernel) -> list[Cpu]:
    return identify_cpus(kernel.notes, kernel.arch, kernel.hypervisor, symbols_of(kernel))


def expect(kernel: FakeKernel, numbers: list[int]) -> None:
    """Check that the CPUs found are these, each with its own registers and pid."""
    assert [
        Cpu(number, kernel.pids[number], registers_of(kernel.arch, number)) for number in numbers
    ] == cpus_of(kernel)


@st.composite
def crashed(draw: st.DrawFn) -> tuple[FakeKernel, list[int]]:
    """A kernel after kdump, with offline and deaf CPUs, and the CPUs that left notes."""
    possible = draw(st.integers(1, 70))
    online = draw(st.sets(st.integers(0, possible - 1), min_size=1))
    deaf = draw(st.sets(st.sampled_from(sorted(online))))
    pids = {cpu: draw(st.sampled_from([0, 0, 1, 4711, 1 << 22])) for cpu in online}
    kernel = fake_kernel(
        draw(st.sampled_from(list(ARCHITECTURES.values()))),
        possible=possible, online=online, deaf=deaf, pids=pids,
        absolute_percpu=draw(st.booleans()),
    )  # fmt: skip
    return kernel, sorted(online - deaf)


@given(crashed(), st.randoms(use_true_random=False))
def test_notes_find_their_cpus_by_the_kernels_crash_notes(
    made: tuple[FakeKernel, list[int]], dice: random.Random
) -> None:
    kernel, numbers = made
    shuffled = list(kernel.notes)
    dice.shuffle(shuffled)
    notes = [dataclasses.replace(note, index=i) for i, note in enumerate(shuffled)]
    expect(dataclasses.replace(kernel, notes=notes), numbers)


@every_arch
def test_without_crash_notes_notes_are_dealt_out_over_the_online_cpus(arch: Arch) -> None:
    kernel = fake_kernel(arch, possible=8, online=[0, 3, 7], pids={3: 9}, crash_notes=False)
    expect(kernel, [0, 3, 7])


def test_more_than_64_cpus_have_a_longer_mask() -> None:
    expect(fake_kernel(possible=130, online=[1, 64, 129], crash_notes=False), [1, 64, 129])


def test_fewer_notes_than_online_cpus_are_numbered_in_order() -> None:
    """Nothing tells which CPU is missing; the numbers are then mere counts."""
    kernel = fake_kernel(possible=4, online=[1, 2, 3], deaf=[2], crash_notes=False)
    assert [cpu.number for cpu in cpus_of(kernel)] == [0, 1]


@pytest.mark.parametrize("gone", ["kallsyms_names", "nr_cpu_ids", "__cpu_online_mask"])
def test_without_the_kernels_word_cpus_are_numbered_in_order(gone: str) -> None:
    kernel = fake_kernel(possible=4, online=[2, 3], pids={3: 5}, crash_notes=False)
    found = cpus_of(kernel.without(gone))
    assert [(cpu.number, cpu.pid) for cpu in found] == [(0, 0), (1, 5)]


def test_the_mask_of_online_cpus_needs_no_per_cpu_offsets() -> None:
    kernel = fake_kernel(possible=4, online=[2, 3], pids={3: 5}, crash_notes=False)
    expect(kernel.without("__per_cpu_offset"), [2, 3])


def test_a_crash_note_that_cannot_be_read_leaves_the_online_mask() -> None:
    expect(fake_kernel(online=[1, 3]).without("crash note 2"), [1, 3])


def test_two_cpus_with_the_same_note_are_not_told_apart_by_it() -> None:
    kernel = fake_kernel(possible=4, online=[1, 3])
    same = kernel.segments["crash note 1"][1]
    expect(kernel.with_bytes("crash note 3", same), [1, 3])


def test_a_note_without_pc_and_sp_proves_nothing() -> None:
    kernel = fake_kernel(possible=4, online=[1, 3])
    notes = [CpuNote(i, 0, {"rax": 1}) for i in range(2)]
    assert [cpu.number for cpu in cpus_of(dataclasses.replace(kernel, notes=notes))] == [1, 3]


@given(st.one_of(st.none(), st.integers(-(1 << 63), 1 << 64)))
def test_any_pid_a_note_may_say_is_borne(pid: int | None) -> None:
    kernel = fake_kernel(possible=2)
    notes = [dataclasses.replace(note, pid=pid) for note in kernel.notes]
    assert [pid, pid] == [cpu.pid for cpu in cpus_of(dataclasses.replace(kernel, notes=notes))]


@given(st.integers(1, 20), st.data())
def test_a_hypervisors_notes_are_in_order_and_pids_come_from_the_tasks(
    possible: int, data: st.DataObject
) -> None:
    pids = {cpu: data.draw(st.integers(0, 1 << 22)) for cpu in range(possible)}
    kernel = fake_kernel(
        possible=possible, pids=pids, hypervisor=True,
        absolute_percpu=data.draw(st.booleans()),
        current_variable=data.draw(st.sampled_from(["current_task", "pcpu_hot", "runqueues"])),
    )  # fmt: skip
    assert [cpu + 1 for cpu in range(possible)] == [note.pid for note in kernel.notes]
    expect(kernel, list(range(possible)))


@every_arch
@given(st.lists(st.integers(0, 1 << 22), unique=True, max_size=6))
def test_where_only_the_tasks_tell_idle_cpus_stay_unknown(arch: Arch, of_cpus: list[int]) -> None:
    """Tasks have their CPU in them; an idle task is on no list."""
    pids = dict(enumerate(of_cpus))
    kernel = fake_kernel(
        arch, possible=6, pids=pids, hypervisor=True, current_variable="init_task"
    )  # fmt: skip
    assert [pids.get(cpu) or None for cpu in range(6)] == [cpu.pid for cpu in cpus_of(kernel)]


def test_a_torn_task_list_keeps_what_came_before() -> None:
    kernel = fake_kernel(
        AARCH64, possible=3, pids={0: 7, 1: 8, 2: 9}, hypervisor=True, current_variable="init_task"
    )
    assert [cpu.pid for cpu in cpus_of(kernel.without("task 1"))] == [7, None, None]


def test_two_tasks_on_one_cpu_cannot_be() -> None:
    kernel = fake_kernel(
        AARCH64, possible=3, pids={0: 7, 1: 8, 2: 9}, hypervisor=True, current_variable="init_task"
    )
    same = kernel.with_bytes("task 1", (0).to_bytes(4, "little"), at=0x14)
    assert [cpu.pid for cpu in cpus_of(same)] == [None, None, 9]


def test_a_runqueue_of_another_cpu_is_not_believed() -> None:
    kernel = fake_kernel(
        AARCH64, possible=2, pids={0: 7, 1: 8}, hypervisor=True, current_variable="runqueues"
    )
    moved = kernel.with_bytes("runqueue 1", (5).to_bytes(4, "little"), at=0x40)
    assert [cpu.pid for cpu in cpus_of(moved)] == [7, None]


@pytest.mark.parametrize("pid", [1 << 31, (1 << 22) + 1])
def test_what_can_be_no_pid_is_none(pid: int) -> None:
    kernel = fake_kernel(possible=2, pids={0: 7}, hypervisor=True)
    odd = kernel.with_bytes("task 0", pid.to_bytes(4, "little"), at=0x4E8)
    assert [cpu.pid for cpu in cpus_of(odd)] == [None, 0]


@every_arch
def test_a_hypervisors_notes_without_its_mark_are_known_by_their_pids(arch: Arch) -> None:
    """QEMU's dumps of arm64 say nowhere that they are QEMU's."""
    kernel = fake_kernel(
        arch, possible=3, pids={0: 70, 2: 71}, hypervisor=True, current_variable="runqueues"
    )
    unmarked = dataclasses.replace(kernel, hypervisor=False)
    assert [cpu.pid for cpu in cpus_of(unmarked)] == [70, 0, 71]
    nothing = unmarked.without("kallsyms_names")
    assert [cpu.pid for cpu in cpus_of(nothing)] == [None, None, None]


def test_the_pids_of_qemu_may_be_in_the_other_byte_order() -> None:
    """Those of a big-endian machine are, where QEMU runs on a little-endian one."""
    kernel = fake_kernel(possible=3, pids={0: 70, 1: 0, 2: 71}, hypervisor=True)
    notes = [dataclasses.replace(note, pid=(note.index + 1) << 24) for note in kernel.notes]
    unmarked = dataclasses.replace(kernel, hypervisor=False, notes=notes)
    assert [cpu.pid for cpu in cpus_of(unmarked)] == [70, 0, 71]


def test_pids_that_count_are_believed_where_the_notes_are_the_kernels() -> None:
    expect(fake_kernel(possible=2, pids={0: 1, 1: 2}), [0, 1])
    expect(fake_kernel(possible=1, pids={0: 1}), [0])


@pytest.mark.parametrize("gone", ["kallsyms_names", "btf", "nr_cpu_ids", "__per_cpu_offset"])
def test_a_hypervisors_pids_are_never_passed_on(gone: str) -> None:
    found = cpus_of(fake_kernel(possible=2, pids={0: 7}, hypervisor=True).without(gone))
    assert [cpu.pid for cpu in found] == [None, None]


def test_a_task_that_cannot_be_read_leaves_its_cpu_without_a_pid() -> None:
    kernel = fake_kernel(possible=3, pids={0: 7, 2: 8}, hypervisor=True)
    found = cpus_of(kernel.without("task 1", "current 2"))
    assert [cpu.pid for cpu in found] == [7, None, None]


def test_a_kernel_without_current_task_has_no_pids_in_a_hypervisors_dump() -> None:
    kernel = fake_kernel(RISCV64, possible=2, hypervisor=True, current_variable=None)
    assert [cpu.pid for cpu in cpus_of(kernel)] == [None, None]


def test_no_notes_no_cpus() -> None:
    assert cpus_of(dataclasses.replace(fake_kernel(), notes=[])) == []


@pytest.mark.parametrize(
    ("panic_cpu", "crashing_cpu", "expected"),
    [
        (3, None, PanicCpu(2, "panic_cpu")),
        (3, 1, PanicCpu(2, "panic_cpu")),
        (None, 3, PanicCpu(2, "crashing_cpu")),
        (-1, 1, PanicCpu(1, "crashing_cpu")),
        (2, None, PanicCpu(1, "first CPU that was not idle")),  # offline, so it cannot be
        (-1, -1, PanicCpu(1, "first CPU that was not idle")),
        (None, None, PanicCpu(1, "first CPU that was not idle")),
        (1 << 30, None, PanicCpu(1, "first CPU that was not idle")),
    ],
)
def test_the_panicking_cpu(
    panic_cpu: int | None, crashing_cpu: int | None, expected: PanicCpu
) -> None:
    kernel = fake_kernel(
        possible=4, online=[0, 1, 3], pids={1: 42, 3: 43},
        panic_cpu=panic_cpu, crashing_cpu=crashing_cpu,
    )  # fmt: skip
    assert expected == find_panic_cpu(cpus_of(kernel), symbols_of(kernel), list)


def test_where_all_are_idle_the_first_cpu_is_shown() -> None:
    kernel = fake_kernel(X86_64, possible=2)
    assert PanicCpu(0, "first CPU") == find_panic_cpu(cpus_of(kernel), symbols_of(kernel), list)


WHO = "CPU: 1 PID: 42 Comm: init Not tainted 6.1.0-56-cloud-arm64 #1  Debian 6.1.192-2"
WARNING = ["WARNING: CPU: 0 PID: 7 at kernel/x.c:1 x+0x1/0x2", "CPU: 0 PID: 7 Comm: x Tainted: G W"]
OOPS = ["Oops: 0002 [#1] SMP", WHO, "Call trace:", "Kernel panic - not syncing: Fatal exception"]
PANIC = ["Kernel panic - not syncing: sysrq triggered crash", WHO, "Call trace:"]


@pytest.mark.parametrize(
    "lines",
    [
        [*WARNING, *PANIC],
        [*WARNING, *OOPS],
        [*WARNING, *PANIC, "CPU: 0 PID: 7 Comm: x Not tainted"],
        [f"<0>[    1.234567] {line}" for line in PANIC],
        [line.replace("PID", "UID: 0 PID") for line in PANIC],
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_the_log_tells_who_panicked(lines: list[str], known: bool) -> None:
    kernel = fake_kernel(possible=2, pids={0: 7, 1: 42}, hypervisor=True)
    kernel = kernel if known else kernel.without("kallsyms_names")
    found = find_panic_cpu(cpus_of(kernel), symbols_of(kernel), lambda: lines)
    assert found == PanicCpu(1, "the log: CPU: 1 PID: 42 Comm: init", 42)


@pytest.mark.parametrize(
    "lines",
    [
        WARNING,
        OOPS[:-1],
        PANIC[:1],
        [PANIC[0], "CPU: 1 PID: 43 Comm: other Not tainted"],
        [PANIC[0], "CPU: 5 PID: 42 Comm: other Not tainted"],
        [PANIC[0], "CPU: x PID: 42 Comm: init Not tainted"],
    ],
)
def test_a_log_that_does_not_tell_or_cannot_be_true_is_not_followed(lines: list[str]) -> None:
    kernel = fake_kernel(possible=2, pids={0: 7, 1: 42}, hypervisor=True)
    found = find_panic_cpu(cpus_of(kernel), symbols_of(kernel), lambda: lines)
    assert found == PanicCpu(0, "first CPU that was not idle")


def test_a_kernel_that_says_that_no_cpu_panicked_is_believed_before_its_log() -> None:
    kernel = fake_kernel(possible=2, pids={0: 7, 1: 42}, panic_cpu=-1)
    found = find_panic_cpu(cpus_of(kernel), symbols_of(kernel), lambda: PANIC)
    assert found == PanicCpu(0, "first CPU that was not idle")


def test_a_name_that_the_log_has_cannot_harm_a_terminal() -> None:
    line = WHO.replace("init", "a\x1b[2J\u202e b")
    kernel = fake_kernel(possible=2, pids={1: 42}, hypervisor=True)
    found = find_panic_cpu(cpus_of(kernel), symbols_of(kernel), lambda: [PANIC[0], line])
    assert found.reason.isprintable()
    assert found.reason.startswith("the log: CPU: 1 PID: 42 Comm: a")


def test_without_crash_notes_notes_find_their_cpus_by_the_tasks_that_these_ran() -> None:
    kernel = fake_kernel(
        possible=4, online=[0, 2, 3], pids={0: 70, 2: 71}, crash_notes=False,
        current_variable="runqueues",
    )  # fmt: skip
    silent = kernel.without("__cpu_online_mask")
    assert [(cpu.number, cpu.pid) for cpu in cpus_of(in_stacks(silent))] == [
        (0, 70), (2, 71), (3, 0),
    ]  # fmt: skip
    assert [cpu.number for cpu in cpus_of(silent)] == [0, 1, 2]  # sp in nobody's stack


def in_stacks(kernel: FakeKernel) -> FakeKernel:
    """Return the kernel with each note's sp in the stack of the task on its CPU."""
    arch, running = kernel.arch, sorted(kernel.pids)
    notes = [
        dataclasses.replace(
            note,
            registers={**note.registers, arch.sp: kernel.segments[f"task {cpu}"][0] + 0x1F00},
        )
        for cpu, note in zip(running, kernel.notes, strict=True)
    ]
    return dataclasses.replace(kernel, notes=notes)
