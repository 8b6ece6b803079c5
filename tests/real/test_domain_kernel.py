"""domain/kernel over the dump's own symbols and types: the same as over gdb's, byte for byte."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols, kernel_memory
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.cli.container import Container
from kdump_gdbserver.domain.kernel.kernel import Kernel
from kdump_gdbserver.domain.kernel.process.process import Process
from kdump_gdbserver.domain.kernel.snapshot import Snapshot, read_tasks
from kdump_gdbserver.gdb.kdump_commands.sidecar_file import json_text
from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import gdb, serve

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "gdb" / "KdumpGdbCommands.py"


@pytest.fixture(scope="module", params=["6.1", "6.12"])
def dump(request: pytest.FixtureRequest) -> RealDump:
    return get_dump(request.param, "panic")


@pytest.fixture(scope="module")
def snapshot(dump: RealDump) -> Snapshot:
    """All tasks, without vmlinux."""
    container = Container()
    container.config.file.from_value([str(path) for path in dump.dumps["elf"]])
    opened = container.dump()
    space, arch, info = DumpMemory(opened).kernel(), opened.facts.arch, opened.vmcoreinfo
    types = KernelSymbols(space, info, arch)
    kernel = Kernel(types, kernel_memory(space, arch), arch, info)
    return read_tasks(kernel)


def test_tasks_and_processes_are_those_of_the_gdb_script(
    dump: RealDump, snapshot: Snapshot, tmp_path: Path
) -> None:
    programs = [task.pid for task in snapshot.tasks if task.mm and task.pid == task.tgid]
    assert len(programs) > 5
    saved = [f"kdump-save-process-json {tmp_path}/{pid}.json {pid}" for pid in programs]
    with serve(dump.dumps["elf"]) as server:
        gdb(server, f"source {SCRIPT}", f"kdump-save-kernel-json {tmp_path}/tasks.json", *saved,
            before=[f"file {dump.vmlinux}"])  # fmt: skip
    assert json_text(snapshot.sidecar()) == (tmp_path / "tasks.json").read_text()
    on_cpu = {task.tgid for task in snapshot.tasks if task.cpu is not None}
    for pid in programs:
        found = json.loads(json_text(Process(snapshot, pid, lambda task: {}).sidecar()))
        by_gdb = json.loads((tmp_path / f"{pid}.json").read_text())
        if pid in on_cpu:  # gdb knows what registers the CPU had
            del found["threads"], by_gdb["threads"]
        assert found == by_gdb


def test_the_script_in_the_documentation_lists_them(dump: RealDump, snapshot: Snapshot) -> None:
    scripts = re.findall(r"```python\n(.*?)```", (TOP / "docs/library.md").read_text(), re.S)
    done = subprocess.run(
        [sys.executable, "-c", scripts[1], *map(str, dump.dumps["elf"])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, problems = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("CPU ")] == [
        f"{task.pid} {task.name} {task.state_letter} {snapshot.uid(task)}"
        for task in snapshot.tasks
    ]
    assert problems == "problems: []"


def test_one_file_alone_does_what_the_folders_do(dump: RealDump, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    write = [sys.executable, "-m", "kdump_gdbserver.cli.main", "--write-gdb-script"]
    subprocess.run([*write, str(alone / "script.py")], check=True, capture_output=True)
    texts, sidecars = [], []
    for script in (SCRIPT, alone / "script.py"):
        with serve(dump.dumps["elf"]) as server:
            texts.append(gdb(server, f"source {script}", "kdump-kernel-ps", "thread apply all bt",
                             f"kdump-save-kernel-json {tmp_path}/tasks.json",
                             before=[f"file {dump.vmlinux}"]))  # fmt: skip
        sidecars.append((tmp_path / "tasks.json").read_text())
    assert "[kthreadd]" in texts[0]
    assert texts[0] == texts[1]
    assert sidecars[0] == sidecars[1]
