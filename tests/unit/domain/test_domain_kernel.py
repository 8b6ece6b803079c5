"""domain/kernel over a made-up kernel: tasks, CPUs, layouts, and what damage does to them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.kernel.current import CurrentTasks
from kdump_gdbserver.domain.kernel.errors import KdumpError
from kdump_gdbserver.domain.kernel.memory import Layout, Memory
from kdump_gdbserver.domain.kernel.percpu import MAX_CPUS, PerCpu
from kdump_gdbserver.domain.kernel.snapshot import Snapshot, read_tasks
from kdump_gdbserver.domain.kernel.symbols import Symbols
from kdump_gdbserver.domain.kernel.types import Member
from tests.support.task_kernel import TableTypes, TaskKernel

GROUPS = [[1], [2], [105, 131, 134], [106, 122], [300], [4711]]


def listed(snapshot: Snapshot) -> list[int]:
    return [task.pid for task in snapshot.tasks]


def test_every_task_of_a_whole_kernel() -> None:
    made = TaskKernel(GROUPS)
    snapshot = read_tasks(made.kernel())
    assert listed(snapshot) == [0] * 4 + made.pids
    assert snapshot.problems == []
    assert [task.idle_cpu for task in snapshot.tasks[:5]] == [0, 1, 2, 3, None]
    assert [(task.pid, task.cpu) for task in snapshot.tasks if task.cpu is not None] == [
        (0, 0), (0, 2), (0, 3), (1, 1),
    ]  # fmt: skip


def test_the_sidecar_of_a_whole_kernel() -> None:
    made = TaskKernel(GROUPS)
    content = read_tasks(made.kernel()).sidecar()
    assert content["dump"] == {"release": "6.99", "build_id": None, "arch": "x86_64"}
    assert [cpu["cpu"] for cpu in content["cpus"]] == [0, 1, 2, 3]
    thread = next(thread for thread in content["threads"] if thread["tid"] == 131)
    stack = made.task[131] + 0xB00
    assert thread == {
        "pid": 105, "tid": 131, "ppid": 0, "uid": 1000, "comm": "task-131", "kthread": False,
        "address": made.task[131], "state": "S",
        "registers": {"rbx": 0, "rbp": 131, "r12": 0, "r13": 0, "r14": 0, "r15": 0,
                      "rip": 0xFFFF_FFFF_8100_0000 + 131, "rsp": stack + 56},
    }  # fmt: skip


@pytest.mark.parametrize(
    "groups",
    [[[pid] for pid in range(1, 10_001)], [[*range(1, 10_001)]]],
    ids=["processes", "threads of one"],
)
def test_ten_thousand_tasks_take_no_half_second_and_two_reads_each(groups: list[list[int]]) -> None:
    made = TaskKernel(groups)
    kernel = made.kernel()
    began = time.process_time()
    content = read_tasks(kernel).sidecar()
    assert time.process_time() - began < 0.5
    assert len(content["threads"]) == 10_004
    assert made.reads < 2.1 * 10_004


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_never_raises_hangs_or_makes_tasks_up(data: st.DataObject) -> None:
    made = TaskKernel(GROUPS)
    kernel = made.kernel()
    places = st.integers(0, len(made.data) // 8 - 1)
    values = st.one_of(
        st.sampled_from([0, 1, made.init_task, 2**64 - 8]), st.integers(0, 2**64 - 1)
    )
    for _ in range(data.draw(st.integers(1, 12))):
        made.put(made.init_task + 8 * data.draw(places), data.draw(values))
    snapshot = read_tasks(kernel)
    snapshot.sidecar()
    addresses = [task.address for task in snapshot.tasks]
    assert len(set(addresses)) <= len(addresses) <= 5000
    assert all("\n" not in problem for problem in snapshot.problems)
    CurrentTasks(kernel, PerCpu(kernel)).pid(1)


def test_a_damaged_init_task_leaves_the_tasks_that_pids_lead_to() -> None:
    made = TaskKernel(GROUPS)
    kernel = made.kernel()
    made.set("task_struct", made.init_task, comm=b"swapper/0without")
    snapshot = read_tasks(kernel)
    assert listed(snapshot) == [0] * 3 + made.pids
    doubt = f"no task at {made.init_task:#x} (its name has no end)"
    assert snapshot.problems == [
        f"idle task of CPU 0: {doubt}",
        f"task list: {doubt}",
        f"{len(made.pids)} more task(s) found by their pids",
    ]


# -- what a CPU ran, and which CPUs there are


def test_both_ways_to_a_cpus_task_agree() -> None:
    made = TaskKernel(GROUPS)
    kernel = made.kernel()
    current = CurrentTasks(kernel, PerCpu(kernel))
    by_snapshot = {task.cpu: task.pid for task in read_tasks(kernel).tasks if task.cpu is not None}
    assert {cpu: current.pid(cpu) for cpu in range(4)} == by_snapshot
    assert current.pid(4) is None


def without_runqueues(*groups: list[int]) -> TaskKernel:
    """A kernel whose symbols are `init_task` alone, as found by its looks."""
    made = TaskKernel(groups)
    made.kernel()
    for name in set(made.symbols) - {"init_task"}:
        del made.symbols[name]
    return made


def current_of(made: TaskKernel) -> CurrentTasks:
    types = TableTypes(made.symbols)
    symbols = Symbols(types, Memory(made.fetch))
    return CurrentTasks(symbols, PerCpu(symbols))


def test_a_thread_on_a_cpu_is_found_by_its_own_word() -> None:
    made = without_runqueues([10], [20, 21, 22])
    made.set("task_struct", made.task[22], on_cpu=1, thread_info__cpu=3)
    current = current_of(made)
    assert (current.cpus(), current.pid(3), current.pid(0)) == ([3], 22, None)


def test_tasks_lead_to_the_runqueues_and_these_to_idle_tasks() -> None:
    made = without_runqueues([10], [20, 21, 22])
    made.add_fair_queues({10: 1, 20: 0, 21: 2, 22: 2})
    made.set("task_struct", made.task[21], on_cpu=1)  # about to leave its CPU
    current = current_of(made)
    assert [current.pid(cpu) for cpu in range(4)] == [0, 10, 0, None]
    assert current.cpus() == [0, 1, 2]
    assert current.stack(1) == range(made.task[10] + 0xB00, made.task[10] + 0xB00 + 0x4000)


def test_lists_with_more_tasks_than_there_can_be_are_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = without_runqueues(*([pid] for pid in range(1, 400)))
    made.set("task_struct", made.task[7], on_cpu=1, thread_info__cpu=3)
    monkeypatch.setattr("kdump_gdbserver.domain.kernel.current.MOST_TASKS", 20)
    before = made.reads
    assert current_of(made).pid(3) == 7
    assert made.reads < before + 100


def test_a_queue_that_runs_another_cpus_task_is_not_believed() -> None:
    made = without_runqueues([10], [20])
    made.add_fair_queues({10: 1, 20: 1})
    assert current_of(made).pid(1) == 10
    made.set("task_struct", made.task[10], thread_info__cpu=5)
    assert (current_of(made).cpus(), current_of(made).pid(1)) == ([], None)


def test_cpus_that_can_be_are_those_of_the_mask_or_all_below_the_count() -> None:
    made = TaskKernel(GROUPS)
    made.put(made.symbols["__cpu_possible_mask"], 0b1011)
    assert [*PerCpu(made.kernel()).offsets] == [0, 1, 3]
    del made.symbols["__cpu_possible_mask"]
    assert [*PerCpu(made.kernel()).offsets] == [0, 1, 2, 3]
    del made.symbols["__per_cpu_offset"]  # a kernel for one CPU
    assert PerCpu(made.kernel()).offsets == {0: 0}


@pytest.mark.parametrize("count", [MAX_CPUS + 1, 2**32 - 1])
def test_no_kernel_has_so_many_cpus(count: int) -> None:
    made = TaskKernel(GROUPS)
    made.put(made.symbols["nr_cpu_ids"], count, 4)
    per_cpu = PerCpu(made.kernel())
    assert (per_cpu.offsets, per_cpu.mask("__cpu_online_mask")) == ({}, None)


def test_cpus_that_a_panic_stopped_were_in_use() -> None:
    made = TaskKernel(GROUPS)
    made.put(made.symbols["__cpu_online_mask"], 1)
    assert PerCpu(made.kernel()).in_use() == {0}
    made.symbols["__cpu_active_mask"] = made.symbols["__cpu_possible_mask"]
    assert PerCpu(made.kernel()).in_use() == {0, 1, 2, 3}


# -- what a source of types does not know


@pytest.mark.parametrize("name", ["init_pid_ns", "runqueues", "init_task"])
def test_a_symbol_that_is_needed_and_not_there_is_named(name: str) -> None:
    made = TaskKernel(GROUPS)
    del made.symbols[name]
    with pytest.raises(KdumpError, match=rf"^no symbol {name}: kernel not supported$"):
        made.kernel()


def test_symbols_of_another_kernel_are_refused() -> None:
    made = TaskKernel(GROUPS)
    made.symbols["init_task"] = made.task[1]
    with pytest.raises(KdumpError, match=r"^no init task at 0x.*: these symbols are another"):
        made.kernel()


def test_types_and_members_that_are_needed_and_not_there_are_named() -> None:
    kernel = TaskKernel(GROUPS).kernel()
    with pytest.raises(KdumpError, match=r"^no type struct no_such: kernel not supported$"):
        kernel.layout("struct no_such", ["member"])
    with pytest.raises(KdumpError, match=r"^struct cred has no member gid: kernel not supported$"):
        kernel.layout("struct cred", ["gid"])
    with pytest.raises(KdumpError, match=r"^struct cred has no known member"):
        kernel.layout("struct cred", (), ["gid"])
    assert kernel.member("struct cred", "gid") is None
    with pytest.raises(KdumpError, match="no type struct no_such"):
        kernel.member("struct no_such", "member")


# -- layouts

SIZES = st.sampled_from([1, 2, 3, 4, 5, 8, 16])
MEMBERS = st.lists(
    st.tuples(st.integers(0, 60), SIZES, st.sampled_from(["int", "bytes"])), min_size=1, max_size=9
)


@given(MEMBERS, st.binary(min_size=80, max_size=80), st.sampled_from(["little", "big"]))
def test_members_are_what_lies_there_also_where_they_overlap(
    members: list[tuple[int, int, str]], content: bytes, byte_order: ByteOrder
) -> None:
    memory = Memory(lambda address, size: content[address : address + size], byte_order)
    layout = Layout(80, {str(n): Member(*member) for n, member in enumerate(members)})
    expected = {
        str(n): content[at : at + size]
        if kind == "bytes"
        else int.from_bytes(content[at : at + size], byte_order)
        for n, (at, size, kind) in enumerate(members)
    }
    assert layout.read(memory, 0) == expected


@given(st.binary(max_size=100), st.sampled_from([4, 8]), st.sampled_from(["little", "big"]))
def test_words_of_bytes(content: bytes, size: int, byte_order: ByteOrder) -> None:
    memory = Memory(lambda address, size: b"", byte_order, size)
    expected = [
        int.from_bytes(content[at : at + size], byte_order)
        for at in range(0, len(content) - size + 1, size)
    ]
    assert memory.split(content) == expected


def test_pointers_are_cleaned() -> None:
    memory = Memory(lambda address, size: b"\x01" * size, clean=lambda address: address & 0xFF)
    layout = Layout(16, {"p": Member(0, 8, "pointer"), "n": Member(8, 8)})
    assert layout.read(memory, 0) == {"p": 1, "n": 0x0101_0101_0101_0101}
