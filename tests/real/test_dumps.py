"""The dumps themselves: that each holds what its guest told, by readers other than ours."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from typing import Any

import drgn
import pytest
from drgn.helpers.linux.pid import for_each_task

from tests.real.harness import RealDump
from tests.real.harness.elf_core import prstatus_registers
from tests.real.harness.machines import MACHINES
from tests.support.gdb_session import find_program

# drgn does not know s390x's memory, and without VMCOREINFO no kernel at all. Of riscv64 it reads
# kdump files; the segments of /proc/vmcore have no virtual addresses there.
DRGN_FORMS = {"x86_64": "elf", "aarch64": "elf", "ppc64le": "elf", "riscv64": "d1-zlib"}


def test_every_program_told_its_facts(any_dump: RealDump) -> None:
    machine = MACHINES[any_dump.arch]
    assert set(any_dump.programs) == set(any_dump.facts["programs"])
    assert all(path.is_file() for path in any_dump.programs.values())
    told = any_dump.facts["programs"]
    assert {"threads", "static", "nonpie", "odd (na) me", "zombies", "spinner"} <= set(told)
    assert ("staticpie" in told) == machine.static_pie
    tids = {task["tid"] for task in any_dump.facts["tasks"]}
    assert {thread["tid"] for thread in told["threads"]["threads"]} <= tids


def test_the_page_size_is_what_the_kernel_is_called_after(any_dump: RealDump) -> None:
    wanted = 65536 if any_dump.arch == "ppc64le" else 4096
    if any_dump.release.endswith("-16k"):
        wanted = 16384
    assert any_dump.facts["page_size"] == wanted
    assert any_dump.facts["release"] == any_dump.release


def test_pointer_authentication_is_there_or_not_as_the_scenario_says(any_dump: RealDump) -> None:
    if any_dump.arch != "aarch64":
        pytest.skip("aarch64 only")
    features = set(re.findall(r"\w+", any_dump.facts["cpuinfo"]))
    assert ({"paca", "pacg"} <= features) == ("nopac" not in any_dump.dir.parent.name)


def test_the_spinner_of_a_living_guest_is_where_it_spins(any_dump: RealDump) -> None:
    if any_dump.facts["crash_pid"] is not None:
        pytest.skip("the guest crashed")
    spinner = any_dump.facts["programs"]["spinner"]
    registers = any_dump.facts["qemu_registers"][spinner["cpu"]]
    counter = re.search(r"(?:RIP=|PC=|\bpc +|addr |NIP )([0-9a-f]{16})", registers)
    assert counter
    assert spinner["spin_begin"] <= int(counter[1], 16) < spinner["spin_end"]
    # Whatever the register is called, its value is in the list.
    for name, value in spinner["registers"].items():
        assert f"{value:016x}" in registers, name


def test_a_kdump_has_caught_the_spinner_in_its_loop(any_dump: RealDump) -> None:
    if not any_dump.dir.parent.name.endswith("kdump"):
        pytest.skip("no kdump")
    if not MACHINES[any_dump.arch].spins_at_crash:
        pytest.skip("left to chance on this machine")
    spinner = any_dump.facts["programs"]["spinner"]
    [path] = any_dump.dumps["elf"]
    caught = [
        registers
        for registers in prstatus_registers(path)
        if any(spinner["spin_begin"] <= word < spinner["spin_end"] for word in registers)
    ]
    assert len(caught) == 1
    assert set(spinner["registers"].values()) <= set(caught[0])


def test_the_tasks_of_the_dump_are_those_that_the_guest_told(any_dump: RealDump) -> None:
    program = opened_by_drgn(any_dump)
    found = {int(task.pid): task.comm.string_().decode() for task in for_each_task(program)}
    told = {task["tid"]: task["comm"] for task in any_dump.facts["tasks"]}
    assert without_workers(found) == without_workers(told)


def test_the_thread_that_crashed_is_the_shell(any_dump: RealDump) -> None:
    if any_dump.facts["crash_pid"] is None:
        pytest.skip("the guest did not crash")
    program = opened_by_drgn(any_dump)
    crashed = program.crashed_thread()
    assert crashed.tid == any_dump.facts["crash_pid"]
    if any_dump.arch in ("x86_64", "aarch64"):  # drgn has no unwinder for riscv64
        names = [frame.name for frame in crashed.stack_trace()]
        assert "sysrq_handle_crash" in names


def test_gdb_reads_the_kernel_s_debug_information(any_dump: RealDump) -> None:
    if not any_dump.dir.parent.name.endswith("panic"):
        pytest.skip("one dump of each kernel will do")
    gdb = find_program("gdb-multiarch")
    commands = ["-ex", 'printf "%d\\n", sizeof(struct task_struct)', "-ex", "info line panic"]
    text = subprocess.run([gdb, "-nx", "-batch", *commands, str(any_dump.vmlinux)],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert re.search(r"^[2-9]\d{3,4}$", text, re.M), text
    assert re.search(r'Line \d+ of "kernel/panic.c"', text), text


def opened_by_drgn(dump: RealDump) -> drgn.Program:
    [path] = dump.dumps.get(DRGN_FORMS.get(dump.arch, ""), [None])
    if path is None:
        pytest.skip(f"drgn reads no form of this {dump.arch} dump")
    if b"OSRELEASE=" not in notes(path):
        pytest.skip("drgn reads no dump without VMCOREINFO")
    program = drgn.Program()
    program.set_core_dump(str(path))
    program.load_debug_info([str(dump.vmlinux)])
    return program


def notes(path: Any) -> bytes:
    """The start of a dump, where VMCOREINFO is among the notes if it is anywhere."""
    with path.open("rb") as file:
        return bytes(file.read(1 << 20))


def without_workers(tasks: dict[int, str]) -> Iterable[tuple[int, str]]:
    """Kernel workers come and go between the report and the crash."""
    return sorted(pair for pair in tasks.items() if not pair[1].startswith("kworker/"))
