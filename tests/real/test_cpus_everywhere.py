"""Which CPU ran what, which one panicked and where the kernel is, on real dumps of every kind.

The truth: the guest's own report, QEMU's `info registers`, vmlinux's headers; and drgn with
vmlinux, where it opens the dump. No view may differ: without files, with -v, with -k.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import drgn
import pytest
from drgn.helpers.linux.percpu import per_cpu

from kdump_gdbserver.adapters.elf_symbols import ElfSymbolFile
from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader
from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols, kernel_memory
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.kernel.task_view import open_task_view
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.kernel.kernel import Kernel
from kdump_gdbserver.domain.kernel.snapshot import read_tasks
from kdump_gdbserver.ports.crash_dump import CrashDump
from tests.real.conftest import get_dump
from tests.real.harness import RealDump

_KINDS = [
    *(("x86_64", release, "panic") for release in ("5.10", "6.1", "6.12", "7")),
    *(("x86_64", release, "kdump") for release in ("5.10", "6.1", "7")),
    ("x86_64", "6.1", "live"),
    *(("aarch64", release, "panic") for release in ("6.1", "6.12", "6.12-16k")),
    *(("aarch64", release, "nopac") for release in ("6.1", "6.12", "6.12-16k")),
    *(("aarch64", "6.1", scenario) for scenario in ("kdump", "live")),
    *(("riscv64", "7", scenario) for scenario in ("panic", "kdump", "live")),
]
# How QEMU names pc and sp.
_QEMU = {
    "x86_64": (r"RIP=([0-9a-f]+)", r"RSP=([0-9a-f]+)"),
    "aarch64": (r"PC=([0-9a-f]+)", r" SP=([0-9a-f]+)"),
    "riscv64": (r" pc +([0-9a-f]+)", r"x2/sp +([0-9a-f]+)"),
}


@pytest.fixture(scope="module", params=_KINDS, ids="-".join)
def real(request: pytest.FixtureRequest) -> RealDump:
    arch, release, scenario = request.param
    return get_dump(release, scenario, arch)


@contextlib.contextmanager
def opened(real: RealDump, form: str) -> Iterator[CrashDump]:
    dump = KdumpfileOpener().open([str(path) for path in real.dumps[form]])
    try:
        yield dump
    finally:
        dump.close()


@functools.cache
def ran(elf: Path, vmlinux: Path, cpus: tuple[int, ...]) -> dict[int, int] | None:
    """What each CPU's runqueue says by vmlinux; None where drgn cannot tell."""
    program = drgn.Program()
    try:
        program.set_core_dump(elf)
        program.load_debug_info([vmlinux])
        queues = program["runqueues"]
        return {cpu: per_cpu(queues, cpu).curr.pid.value_() for cpu in cpus}
    except Exception as error:  # drgn's own: a kernel or a dump that it does not know
        print(f"drgn cannot open {elf}: {error}")
        return None


def expected_pids(real: RealDump) -> dict[int, int]:
    """By CPU, in order, the pid of the thread that it ran, as far as the guest tells."""
    spinning = [task["tid"] for task in real.facts["tasks"] if task["comm"] == "spin-user"]
    known = {2: spinning[0]}
    if real.facts["crash_pid"] is not None:
        known[0] = real.facts["crash_pid"]
    return known


def numbers(real: RealDump) -> list[int]:
    found: list[int] = []
    for part in real.facts["cpus_online"].split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def shown(view: View) -> dict[int, int]:
    """By CPU, what a view of the kernel shows of the pid that it ran."""
    pids: dict[int, int] = {}
    for thread in view.threads:
        assert thread.core is not None
        match = re.fullmatch(r"CPU #(\d+) (?:pid (\d+)|idle)", thread.extra)
        assert match, thread.extra
        assert int(match[1]) == thread.core
        pids[thread.core] = int(match[2] or 0)
    return pids


def os_cpus(view: View) -> dict[int, int]:
    (table,) = (table for table in view.os_tables if table.name == "cpus")
    return {int(cpu): int(pid) for cpu, pid in table.rows()}


def readable(real: RealDump) -> list[str]:
    """The forms that hold the kernel's memory; `damaged` and split parts aside."""
    return [form for form in real.dumps if form not in ("damaged", "split")]


def test_every_form_with_and_without_vmlinux_tells_the_same_truth(real: RealDump) -> None:
    truth = ran(real.dumps["elf"][0], real.vmlinux, tuple(numbers(real)))
    linked = ElfSymbolFile(str(real.vmlinux))
    here = real.facts["symbols"]["_stext"]
    code = linked.types(0).symbol("_stext")
    assert code is not None
    text = linked.first_segment + here - code
    compared = 0
    for form in readable(real):
        for vmlinux in (None, linked):
            with opened(real, form) as dump:
                view = open_kernel_view(dump, vmlinux)
                pids = shown(view)
                what = (form, vmlinux is not None)
                assert list(pids) == numbers(real), what
                known = expected_pids(real)
                if real.facts["crash_pid"] is None:
                    known = {}  # the guest ran on
                assert {cpu: pids[cpu] for cpu in known} == known, what
                assert os_cpus(view) == pids, what
                if truth is not None:
                    assert pids == {cpu: truth[cpu] for cpu in pids}, what
                assert view.placement.first_segment == text, what
                if real.facts["crash_pid"] is not None:
                    assert view.current.core == 0, what
                    reason = view.current_reason
                    assert reason == "panic_cpu" or reason.startswith("the log: CPU: 0 PID: ")
                compared += len(pids)
                check_registers(real, view)
    print(f"{real.arch} {real.release}: {compared} CPUs compared, drgn: {truth}")
    assert compared >= 2 * 3


def check_registers(real: RealDump, view: View) -> None:
    """Compare with what QEMU showed when it wrote the dump."""
    for cpu, text in enumerate(real.facts.get("qemu_registers", ())):
        pc, sp = (int(re.search(pattern, text)[1], 16) for pattern in _QEMU[real.arch])  # type: ignore[index]
        registers = view.threads[cpu].registers
        assert registers.get(view.arch.pc) == pc
        assert registers.get(view.arch.sp) == sp


def test_with_all_tasks_the_cpus_run_the_same(real: RealDump, tmp_path: Path) -> None:
    linked = ElfSymbolFile(str(real.vmlinux))
    with opened(real, "elf") as dump:
        space, arch, info = DumpMemory(dump).kernel(), dump.facts.arch, dump.vmcoreinfo
        types = KernelSymbols(space, info, arch, linked)
        kernel = Kernel(types, kernel_memory(space, arch), arch, info)
        path = tmp_path / "tasks.json"
        path.write_text(json.dumps(read_tasks(kernel).sidecar()))
        tasks = JsonSidecarReader().read_kernel_tasks(str(path), arch)
        for vmlinux in (None, linked):
            plain = shown(open_kernel_view(dump, vmlinux))
            view = open_task_view(dump, tasks, vmlinux)
            first = list(view.threads)[: len(plain)]
            found = {}
            for thread in first:
                match = re.match(r"pid \d+ LWP (\d+) ", thread.extra)
                assert match
                found[thread.core] = int(match[1])
            assert found == plain
            assert os_cpus(view) == plain


def test_a_dump_that_does_not_carry_vmcoreinfo_tells_the_same(
    real: RealDump, tmp_path: Path
) -> None:
    with opened(real, "elf") as dump:
        carried = dump.facts.vmcoreinfo_at is None
        whole = open_kernel_view(dump)
        expected = (shown(whole), whole.current.id, whole.placement)
        info = dump.vmcoreinfo.lines
    if not carried:
        return  # all of the above was without it
    path = tmp_path / "vmcore"
    with real.dumps["elf"][0].open("rb") as source, path.open("wb") as copy:
        head = source.read(1 << 16)
        assert b"VMCOREINFO\0" in head
        copy.write(head.replace(b"VMCOREINFO\0", b"SOMETHING.\0"))
        while data := source.read(16 << 20):
            copy.write(data)
    dump = KdumpfileOpener().open([str(path)])
    view = open_kernel_view(dump)
    assert dump.facts.vmcoreinfo_at is not None
    assert (shown(view), view.current.id, view.placement) == expected
    assert dump.vmcoreinfo.lines == {k: v for k, v in info.items() if k != "CRASHTIME"}
    dump.close()
    path.unlink()


def test_a_big_endian_machine_shows_no_pid_but_what_its_cpus_ran() -> None:
    """QEMU counts pids in the notes in its own byte order; without vmlinux some stay unknown."""
    real = get_dump("6.1", "panic", "s390x")
    truth = {**expected_pids(real), 1: 0}
    compared = 0
    for form in readable(real):
        for vmlinux in (None, ElfSymbolFile(str(real.vmlinux))):
            with opened(real, form) as dump:
                for thread in open_kernel_view(dump, vmlinux).threads:
                    match = re.fullmatch(r"CPU #(\d+)(?: pid (\d+)| (idle))?", thread.extra)
                    assert match, thread.extra
                    if match[2] or match[3]:
                        assert int(match[2] or 0) == truth[int(match[1])], (form, thread.extra)
                        compared += 1
                    else:
                        assert vmlinux is None, (form, thread.extra)
    assert compared >= 3 * len(readable(real))
