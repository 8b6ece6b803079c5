"""The kernel's tasks as threads, over a dump in memory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kdump_gdbserver.application.kernel.task_view import open_task_view
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.dump_facts import CpuNote, DumpFacts
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.sidecars import CpuRecord, DumpIdentity, KernelTasks, TaskRecord
from tests.support.fake_dump import FakeDump, FakeSymbolFile

PANIC_CPU, BANNER = 0xFFFF_8000_0000_0000, 0xFFFF_8000_0000_1000
FRAME = 0xFFFF_C900_0000_1000
RET = 0xFFFF_FFFF_8100_1234


class Dump(FakeDump):
    """A `CrashDump` whose memory is a few segments; `pids` are those of the notes."""

    def __init__(
        self,
        *pids: int | None,
        hypervisor: bool = False,
        memory: Mapping[int, bytes] | None = None,
    ) -> None:
        super().__init__(
            {hex(at): (at, data) for at, data in (memory or {}).items()},
            notes=[
                CpuNote(cpu, pid, {"rip": 0x100 + cpu, "rsp": 0x200 + cpu})
                for cpu, pid in enumerate(pids)
            ],
            facts=DumpFacts(("dump",), "elf", X86_64, 4096, len(pids), hypervisor, "6.1"),
        )


def task(
    tid: int,
    comm: str,
    *,
    kthread: bool = False,
    address: int | None = None,
    cpu: int | None = None,
) -> TaskRecord:
    registers = {"rip": RET, "rsp": FRAME + 56}
    return TaskRecord(tid, tid, comm, registers, kthread=kthread, address=address, cpu=cpu)


def swapper(number: int, cpu: int | None = None) -> TaskRecord:
    return TaskRecord(
        0,
        0,
        f"swapper/{number}",
        {"rip": RET},
        kthread=True,
        idle_cpu=number,
        cpu=cpu,
    )


def tasks(*records: TaskRecord, cpus: tuple[CpuRecord, ...] = ()) -> KernelTasks:
    return KernelTasks(DumpIdentity("x86_64", "6.1"), records, cpus)


def earlier(*records: TaskRecord) -> KernelTasks:
    return KernelTasks(DumpIdentity(), records)


def listed(view: View) -> list[str]:
    return [f"{t.id.pid}.{t.id.tid} {t.extra}" for t in view.threads]


SH = task(386, "sh")
NFSD = task(311, "nfsd", kthread=True)
INIT = task(1, "init")


def test_cpus_come_first_then_the_tasks_of_the_sidecar() -> None:
    records = (INIT, swapper(0, cpu=0), swapper(1), NFSD, task(386, "sh", cpu=1))
    view = open_task_view(Dump(0, 386), tasks(*records))
    assert listed(view) == [
        '1.1 pid 0 LWP 0 "[swapper/0]"',
        '1.2 pid 386 LWP 386 "sh"',
        '1.3 pid 1 LWP 1 "init"',
        '1.4 pid 0 LWP 0 "[swapper/1]"',
        '1.5 pid 311 LWP 311 "[nfsd]"',
    ]
    assert [t.core for t in view.threads] == [0, 1, None, None, None]
    assert [t.name for t in view.threads] == [None] * 5


@pytest.mark.fake_alone
def test_a_running_task_has_its_cpus_registers_and_no_others() -> None:
    view = open_task_view(Dump(0, 386), tasks(task(386, "sh", cpu=1), swapper(0, cpu=0)))
    on_cpu = view.threads[1].registers
    assert dict(on_cpu.items()) == {"rip": 0x101, "rsp": 0x201}


def test_a_sleeping_task_has_the_registers_of_its_switch_frame() -> None:
    view = open_task_view(Dump(0), tasks(swapper(0, cpu=0), NFSD))
    assert dict(view.threads[1].registers.items()) == {"rip": RET, "rsp": FRAME + 56}
    assert view.threads[1].registers.get("rax") is None


def test_a_thread_of_a_process_shows_both_of_its_ids() -> None:
    view = open_task_view(Dump(0), tasks(TaskRecord(700, 702, "pool", {})))
    assert view.threads[1].extra == 'pid 700 LWP 702 "pool"'


@pytest.mark.parametrize("panicked", [0, 1, 2])
def test_the_task_of_the_cpu_that_panicked_is_current(panicked: int) -> None:
    memory = {PANIC_CPU: panicked.to_bytes(4, "little"), BANNER: b"Linux version 6.1"}
    dump = Dump(5, 6, 7, memory=memory)
    vmlinux = FakeSymbolFile({"panic_cpu": PANIC_CPU, "linux_banner": BANNER})
    records = [task(7, "c", cpu=2), task(6, "b", cpu=1), task(5, "a", cpu=0), INIT]
    view = open_task_view(dump, tasks(*records), vmlinux)
    assert view.current is view.threads[panicked]
    assert view.current.extra == f'pid {5 + panicked} LWP {5 + panicked} "{"abc"[panicked]}"'
    assert view.current_reason == "panic_cpu"


def test_the_runqueue_counts_before_the_task_and_the_pid_of_the_note() -> None:
    records = (task(10, "a", address=0x10, cpu=0), task(11, "b", address=0x11))
    view = open_task_view(Dump(10), tasks(*records, cpus=(CpuRecord(0, 0x11),)))
    assert listed(view) == ['1.1 pid 11 LWP 11 "b"', '1.2 pid 10 LWP 10 "a"']


def test_no_task_is_on_two_cpus() -> None:
    records = (task(10, "a", address=0x10), task(11, "b", cpu=0))
    cpus = (CpuRecord(0, 0x10), CpuRecord(1, 0x10), CpuRecord(2), CpuRecord(3, 0x99))
    view = open_task_view(Dump(10, 10, 10, 10), tasks(*records, cpus=cpus))
    assert listed(view) == [
        '1.1 pid 10 LWP 10 "a"',
        "1.2 CPU #1 pid 10",
        "1.3 CPU #2 pid 10",
        "1.4 CPU #3 pid 10",
        '1.5 pid 11 LWP 11 "b"',
    ]


def test_a_cpu_without_a_task_stays_a_cpu() -> None:
    view = open_task_view(Dump(4, 0, 9), tasks(INIT, task(4, "kworker", kthread=True, cpu=0)))
    assert listed(view) == [
        '1.1 pid 4 LWP 4 "[kworker]"',
        "1.2 CPU #1 idle",
        "1.3 CPU #2 pid 9",
        '1.4 pid 1 LWP 1 "init"',
    ]
    assert view.threads[2].registers["rip"] == 0x102


def test_a_task_on_a_cpu_that_the_dump_does_not_have_is_still_there() -> None:
    view = open_task_view(Dump(0), tasks(TaskRecord(8, 8, "deaf", {}, cpu=5)))
    assert listed(view)[1] == '1.2 pid 8 LWP 8 "deaf"'
    assert view.threads[1].core == 5
    assert list(view.threads[1].registers) == []


def test_the_earlier_scripts_tasks_are_found_by_the_notes_pids() -> None:
    idle = TaskRecord(0, 0, "swapper/0", {"rip": RET}, kthread=True)
    view = open_task_view(Dump(0, 386, 0, 77), earlier(idle, INIT, SH))
    assert listed(view) == [
        '1.1 pid 0 LWP 0 "[swapper/0]"',
        '1.2 pid 386 LWP 386 "sh"',
        "1.3 CPU #2 idle",
        "1.4 CPU #3 pid 77",
        '1.5 pid 1 LWP 1 "init"',
    ]
    busy = open_task_view(Dump(386, 0), earlier(idle, SH))
    assert listed(busy) == [
        '1.1 pid 386 LWP 386 "sh"',
        "1.2 CPU #1 idle",
        '1.3 pid 0 LWP 0 "[swapper/0]"',
    ]


def test_a_hypervisors_notes_have_no_pids() -> None:
    view = open_task_view(Dump(1, 2, hypervisor=True), earlier(INIT, task(2, "kthreadd")))
    assert listed(view) == [
        "1.1 CPU #0",
        "1.2 CPU #1",
        '1.3 pid 1 LWP 1 "init"',
        '1.4 pid 2 LWP 2 "kthreadd"',
    ]
    told = open_task_view(Dump(1, 2, hypervisor=True), tasks(INIT, task(2, "kthreadd", cpu=0)))
    assert listed(told)[:2] == ['1.1 pid 2 LWP 2 "kthreadd"', "1.2 CPU #1"]


@pytest.mark.parametrize(("place", "behind"), [(48, 56), (56, 64)])
def test_the_earlier_scripts_stack_pointer_is_put_behind_the_frame(place: int, behind: int) -> None:
    saved = TaskRecord(9, 9, "x", {"rip": RET, "rsp": FRAME, "rbx": 3})
    dump = Dump(0, memory={FRAME: bytes(place) + RET.to_bytes(8, "little")})
    registers = open_task_view(dump, earlier(saved)).threads[1].registers
    assert dict(registers.items()) == {"rip": RET, "rsp": FRAME + behind, "rbx": 3}
    # What is right already, and what cannot be looked at, stays.
    assert open_task_view(dump, tasks(saved)).threads[1].registers["rsp"] == FRAME
    assert open_task_view(Dump(0), earlier(saved)).threads[1].registers["rsp"] == FRAME
    other = TaskRecord(9, 9, "x", {"rip": RET + 1, "rsp": FRAME})
    assert open_task_view(dump, earlier(other)).threads[1].registers["rsp"] == FRAME
    without = TaskRecord(9, 9, "x", {"rip": RET})
    assert open_task_view(dump, earlier(without)).threads[1].registers.get("rsp") is None


def test_tasks_of_another_dump_are_refused() -> None:
    of_another = KernelTasks(DumpIdentity("x86_64", "6.2", source="tasks.json"), (INIT,))
    with pytest.raises(SidecarError, match=r"tasks\.json: dump\.release: .* another dump"):
        open_task_view(Dump(0), of_another)


def test_names_cannot_break_the_line() -> None:
    view = open_task_view(Dump(0), tasks(task(3, 'a"\n\x1b')))
    assert view.threads[1].extra == 'pid 3 LWP 3 "a"\\n\\x1b"'


def test_the_view_is_the_kernels_otherwise() -> None:
    dump = Dump(0, memory={FRAME: b"memory"})
    view = open_task_view(dump, tasks(*(task(tid, "t") for tid in range(1, 10_000))))
    assert len(view.threads) == 10_000
    assert view.threads.by_tid(10_000) is view.threads[9_999]
    session = view.open_session()
    assert session.read_memory(FRAME, 6) == b"memory"
    assert session.inferior.current is view.threads[0]
    assert session.inferior.layout is X86_64.layout()
