"""Tables for `info os`, and thread handles."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.application.kernel.os_tables import cpu_table, task_tables
from kdump_gdbserver.application.kernel.task_view import open_task_view
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.sidecars import CpuRecord, DumpIdentity, KernelTasks, TaskRecord
from tests.support.fake_kernel import fake_kernel
from tests.support.sessions import GDB, Debugger

ODD = 'a<&"\x01'
INIT = 0xFFFF888000000000
TASKS = KernelTasks(
    DumpIdentity(arch="x86_64"),
    (
        TaskRecord(0, 0, "swapper/0", {}, cpu=0, idle_cpu=0, kthread=True, address=INIT),
        TaskRecord(0, 0, "swapper/1", {}, idle_cpu=1, kthread=True),
        TaskRecord(7, 9, "second", {}, ppid=1, uid=1000, state="S"),
        TaskRecord(7, 7, ODD, {}, ppid=1, uid=1000, state="R", cpu=1, address=0xFFFF888000001000),
        TaskRecord(2, 2, "kthreadd", {}, ppid=0, uid=0, kthread=True, state="S"),
    ),
    (CpuRecord(0, INIT), CpuRecord(1, 0xFFFF888000001000)),
)  # fmt: skip


def task_view() -> View:
    return open_task_view(fake_kernel(possible=2, pids={1: 7}).dump(), TASKS)


def table(view: View, name: str) -> list[dict[str, str]]:
    debugger = Debugger(view)
    debugger.start(*GDB)
    root = ET.fromstring(debugger.object(b"osdata", name.encode()).decode())
    assert root.tag == "osdata"
    return [
        {column.attrib["name"]: column.text or "" for column in item.iter("column")}
        for item in root.iter("item")
    ]


def test_the_tables_are_listed() -> None:
    listed = {row["Type"]: row for row in table(task_view(), "")}
    assert list(listed) == ["processes", "threads", "cpus"]
    assert all(row["Title"] and row["Description"] for row in listed.values())


def test_processes_are_one_row_each_with_all_their_cpus() -> None:
    rows = table(task_view(), "processes")
    assert [row["pid"] for row in rows] == ["0", "0", "2", "7"]
    assert rows[2] == {
        "pid": "2", "user": "0", "command": "[kthreadd]", "cores": "", "ppid": "0", "state": "S",
    }  # fmt: skip
    assert (rows[3]["command"], rows[3]["cores"]) == ('a<&"?', "1")
    assert rows[0]["cores"] == "0"


def test_threads_are_one_row_each() -> None:
    rows = table(task_view(), "threads")
    assert [(row["pid"], row["tid"]) for row in rows] == [
        ("0", "0"), ("0", "0"), ("2", "2"), ("7", "7"), ("7", "9"),
    ]  # fmt: skip
    assert rows[4] == {"pid": "7", "command": "second", "tid": "9", "core": "", "state": "S"}


def test_cpus() -> None:
    assert table(task_view(), "cpus") == [{"cpu": "0", "pid": "0"}, {"cpu": "1", "pid": "7"}]
    assert list(cpu_table([Cpu(3, None, {})]).rows()) == [("3", "")]


def test_rows_are_made_anew_each_time() -> None:
    processes = task_tables(TASKS)[0]
    assert list(processes.rows()) == list(processes.rows()) != []


def test_handles_are_the_addresses_of_task_structs() -> None:
    debugger = Debugger(task_view())
    debugger.start(*GDB)
    threads = ET.fromstring(debugger.object(b"threads").decode())
    handles = [thread.attrib.get("handle") for thread in threads]
    assert handles[0] == INIT.to_bytes(8, "little").hex()
    assert handles[1] == (0xFFFF888000001000).to_bytes(8, "little").hex()
    assert handles[2:] == [None, None, None]
