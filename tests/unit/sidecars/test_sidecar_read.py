"""Reading sidecars: what is understood, and how each kind of bad input is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader, source
from kdump_gdbserver.domain.arch import AARCH64, RISCV64, X86_64
from kdump_gdbserver.domain.dump_facts import DumpFacts
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.sidecars import (
    CpuRecord,
    DumpIdentity,
    KernelTasks,
    ProcessImage,
    TaskRecord,
    Vma,
    check_identity,
)
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

READER = JsonSidecarReader()

HEAD = {
    "format": "kdump-gdbserver kernel tasks",
    "version": 1,
    "dump": {"release": "6.1.0-9", "build_id": "ABcd01", "arch": "x86_64"},
}
TASK = {"pid": 5, "tid": 6, "comm": "worker", "registers": {"rip": 1, "rsp": 2}}
PROCESS = {
    **HEAD,
    "format": "kdump-gdbserver process",
    "rootpgt": 0xFFFF_8880_0123_4000,
    "loadaddr": 0x40_1000,
    "threads": [TASK],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.json"


def read(path: Path, content: object, arch: Any = X86_64) -> KernelTasks:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(raw)
    return READER.read_kernel_tasks(str(path), arch)


def read_process(path: Path, content: object, arch: Any = X86_64) -> ProcessImage:
    path.write_text(json.dumps(content))
    return READER.read_process(str(path), arch)


def kernel(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**HEAD, "threads": list(tasks), **more}


def complaint(path: Path, content: object, arch: Any = X86_64, process: bool = False) -> str:
    with pytest.raises(SidecarError) as caught:
        (read_process if process else read)(path, content, arch)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


def test_reads_a_kernel_sidecar(path: Path) -> None:
    tasks = read(
        path,
        kernel(
            {**TASK, "ppid": 1, "uid": 1000, "kthread": False, "address": 2**63, "state": "S"},
            {**TASK, "pid": 2, "tid": 2, "comm": "[kthreadd]", "kthread": True, "cpu": 1},
            {"pid": 0, "tid": 0, "comm": "swapper/1", "idle_cpu": 1, "registers": {}},
            cpus=[{"cpu": 1, "curr": 2**63}],
            errors=["list is damaged"],
            later_addition={"x": 1},
        ),
    )
    registers = {"rip": 1, "rsp": 2}
    assert tasks == KernelTasks(
        DumpIdentity("x86_64", "6.1.0-9", "abcd01"),
        (
            TaskRecord(5, 6, "worker", registers, 1, 1000, False, 2**63, "S"),
            TaskRecord(2, 2, "kthreadd", registers, kthread=True, cpu=1),
            TaskRecord(0, 0, "swapper/1", {}, idle_cpu=1),
        ),
        (CpuRecord(1, 2**63),),
        ("list is damaged",),
    )
    assert not tasks.legacy
    assert tasks.identity.source == str(path)
    assert tasks.tasks[1].shown_name == "[kthreadd]"


def test_reads_the_earlier_scripts_kernel_form(path: Path) -> None:
    swapper = {"pid": 0, "tid": 0, "comm": "[swapper/0]", "registers": {"rip": 7}}
    tasks = read(path, {"threads": [swapper, TASK]})
    assert tasks.legacy
    assert tasks.tasks == (
        TaskRecord(0, 0, "swapper/0", {"rip": 7}, kthread=True),
        TaskRecord(5, 6, "worker", {"rip": 1, "rsp": 2}),
    )
    assert tasks.tasks[0].idle_task_of == 0
    assert tasks.tasks[1].idle_task_of is None


def test_reads_the_earlier_scripts_process_form(path: Path) -> None:
    old = {key: PROCESS[key] for key in ("rootpgt", "loadaddr", "threads")}
    image = read_process(path, old)
    assert image.legacy
    assert image.root_table == (0xFFFF_8880_0123_4000, True)
    assert (image.pid, image.comm, image.mode, image.auxv) == (5, "worker", 64, b"")
    assert image.threads[0].registers == {"rip": 1, "rsp": 2}


def test_reads_a_process_sidecar(path: Path) -> None:
    leader = {**TASK, "tid": 5, "comm": "main", "fpregs": {"xmm3": 2**128 - 1, "st0": 2**80 - 1}}
    mapping = {"start": 4096, "end": 8192, "perms": "r-xp", "path": "/bin/x"}
    image = read_process(
        path,
        {
            **PROCESS,
            "rootpgt": 0x123000,
            "threads": [TASK, {**leader, "siginfo": {"signo": 11}, "cpu": 0, "user_mode": True}],
            "auxv": "00" * 16,
            "vmas": [mapping],
            "cmdline": ["x", "-v"],
        },
    )
    assert not image.legacy
    assert image.root_table == (0x123000, False)
    assert (image.pid, image.comm) == (5, "main")
    assert image.auxv == bytes(16)
    assert image.vmas == (Vma(4096, 8192, "r-xp", path="/bin/x"),)
    assert image.cmdline == ("x", "-v")
    thread = image.threads[1]
    assert thread.fpregs == {"xmm3": 2**128 - 1, "st0": 2**80 - 1}
    assert (thread.siginfo, thread.cpu, thread.user_mode) == ({"signo": 11}, 0, True)


@pytest.mark.parametrize(
    ("arch", "given", "known"),
    [
        (X86_64, {"rflags": 1, "rip": 2}, {"eflags": 1, "rip": 2}),
        (AARCH64, {"lr": 1, "pstate": 2, "x19": 3}, {"x30": 1, "cpsr": 2, "x19": 3}),
        (RISCV64, {"s0": 1, "s1": 2, "pc": 3}, {"fp": 1, "s1": 2, "pc": 3}),
        (RISCV64, {"s0": 4, "fp": 4}, {"fp": 4}),
    ],
)
def test_other_names_of_registers_are_understood(
    path: Path, arch: Any, given: dict[str, int], known: dict[str, int]
) -> None:
    assert read(path, {"threads": [{**TASK, "registers": given}]}, arch).tasks[0].registers == known


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        (b"", "is empty;"),
        (b" \n", "is empty;"),
        (b'{"threads": [', "ends in the middle of the JSON (truncated) at line 1 column 14;"),
        (b'{\n "threads": [,]}', "is not JSON: invalid character at line 2 column 14;"),
        (b'{"threads": NaN}', "is not JSON: invalid character at line 1 column 13;"),
        (b"{}x", "is not JSON: trailing characters at line 1 column 3;"),
        (b"\xef\xbb\xbf{}", "is not JSON: invalid character at line 1 column 1;"),
        (b"[]", "is not a sidecar: expected object, got array;"),
        (b"{}", "is no sidecar: it has neither 'format' nor 'threads';"),
        (b'{"x":' + b"[" * 1_000_000, "is nested too deeply for a sidecar;"),
        (b'{"threads": [{"comm": "\xff"}]}', "is not UTF-8 text (invalid start byte);"),
    ],
)
def test_what_is_not_json(path: Path, raw: bytes, start: str) -> None:
    assert complaint(path, raw).startswith(start)


def test_a_lone_surrogate_is_refused(path: Path) -> None:
    raw = json.dumps({"threads": [{**TASK, "comm": "\ud800"}]}).encode()
    assert "JSON" in complaint(path, raw)


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (kernel(), "threads: is empty;"),
        (kernel(TASK, TASK), "threads[1].tid: tid 6 is in threads[0] already;"),
        (kernel({**TASK, "tid": -1}), "threads[0].tid: expected int >= 0;"),
        (kernel({**TASK, "tid": True}), "threads[0].tid: expected int, got bool;"),
        (kernel({**TASK, "state": "SS"}), "threads[0].state: expected str of length <= 1;"),
        (kernel({**TASK, "address": 2**64}), "threads[0].address: address of 65 bits, not 64;"),
        (
            kernel(TASK, {**TASK, "tid": 7, "registers": {"rip": 1, "rsp": "x"}}),
            "threads[1].registers.rsp: expected int, got str;",
        ),
        (
            kernel({**TASK, "registers": {"x0": 1}}),
            "threads[0].registers.x0: x86_64 has no register of that name;",
        ),
        (
            kernel({**TASK, "registers": {"rip": -1}}),
            "threads[0].registers.rip: register value is negative, must be unsigned;",
        ),
        (
            kernel({**TASK, "registers": {"rip": 2**32, "eflags": 2**32}}),
            "threads[0].registers.eflags: value of 33 bits in a register of 32 bits;",
        ),
        (
            kernel({**TASK, "registers": {"eflags": 1, "rflags": 2}}),
            "threads[0].registers.rflags: register 'eflags' is there twice, with another value;",
        ),
        (
            kernel(TASK, cpus=[{"cpu": 3}, {"cpu": 3}]),
            "cpus[1].cpu: CPU 3 is there twice;",
        ),
        ({"version": 1, "threads": [TASK]}, "format: is missing;"),
        ({**HEAD, "format": "x\ny"}, "format: 'x\\ny' is neither 'kdump-gdbserver kernel tasks'"),
        ({"format": HEAD["format"]}, "version: is missing;"),
        ({**HEAD, "version": 0}, "version: is 0, which never was one;"),
        ({**HEAD, "version": "1"}, "version: expected int, got str;"),
        (
            {**HEAD, "version": 2, "dump": 7},
            "version: is 2, newer than this server reads (1); update kdump-gdbserver",
        ),
        (
            {**HEAD, "dump": {"arch": "aarch64"}, "threads": [{**TASK, "registers": {"x0": 1}}]},
            "dump.arch: the sidecar is of a dump of 'aarch64', this dump is of x86_64;",
        ),
        (PROCESS, "format: holds a process, not kernel tasks; give it with -j"),
        ({"loadaddr": 1, "threads": [TASK]}, "format: holds a process, not kernel tasks;"),
    ],
)
def test_what_is_wrong_in_a_kernel_sidecar(path: Path, content: object, start: str) -> None:
    assert complaint(path, content).startswith(start)


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (kernel(TASK), "format: holds kernel tasks, not a process; give it with -k"),
        ({"threads": [TASK]}, "format: holds kernel tasks, not a process; give it with -k"),
        ({"rootpgt": 1, "threads": [TASK]}, "loadaddr: is missing;"),
        ({**PROCESS, "rootpgt": 0}, "rootpgt: is 0, which is no page table;"),
        ({**PROCESS, "rootpgt": 2**64}, "rootpgt: address of 65 bits, not 64;"),
        ({**PROCESS, "threads": []}, "threads: is empty;"),
        ({**PROCESS, "threads": [TASK, TASK]}, "threads[1].tid: tid 6 is in threads[0] already;"),
        ({**PROCESS, "threads": [{**TASK, "tid": 0}]}, "threads[0].tid: is 0, which is no thread"),
        ({**PROCESS, "auxv": "0"}, "auxv: is not a string of hex byte pairs;"),
        ({**PROCESS, "auxv": "00"}, "auxv: has 1 bytes, not a multiple of 16;"),
        ({**PROCESS, "mode": 16}, "mode: invalid enum value 16;"),
        (
            {**PROCESS, "vmas": [{"start": 8, "end": 8, "perms": "r--p"}]},
            "vmas[0].end: is not above the start;",
        ),
        (
            {**PROCESS, "vmas": [{"start": 8, "end": 9, "perms": "read"}]},
            "vmas[0].perms: expected str matching regex",
        ),
        (
            {**PROCESS, "threads": [{**TASK, "fpregs": {"v0": 1}}]},
            "threads[0].fpregs.v0: x86_64 has no register of that name;",
        ),
        (
            {**PROCESS, "threads": [{**TASK, "siginfo": {"signo": 1, "addr": 1.5}}]},
            "threads[0].siginfo.addr: expected int or str, got float;",
        ),
    ],
)
def test_what_is_wrong_in_a_process_sidecar(path: Path, content: object, start: str) -> None:
    assert complaint(path, content, process=True).startswith(start)


def test_an_integer_of_thousands_of_digits(path: Path) -> None:
    for digits in (4000, 6000):
        raw = json.dumps(kernel(TASK)).replace('"rip": 1', '"rip": ' + "1" * digits).encode()
        text = complaint(path, raw)
        assert text.startswith("threads[0].registers")
        assert len(text) < 200


def test_idle_tasks_are_told_apart_by_their_cpu(path: Path) -> None:
    idle = {"pid": 0, "tid": 0, "comm": "swapper/0", "registers": {}}
    both = [{**idle, "idle_cpu": 0}, {**idle, "idle_cpu": 1}]
    assert [task.idle_task_of for task in read(path, kernel(*both)).tasks] == [0, 1]
    by_name = [idle, {**idle, "comm": "[swapper/12]"}]
    assert [task.idle_task_of for task in read(path, kernel(*by_name)).tasks] == [0, 12]
    again = complaint(path, kernel(both[1], idle, both[1]))
    assert again.startswith("threads[2].tid: tid 0 with the same idle_cpu is in threads[0] already")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> str:
        with pytest.raises(SidecarError) as caught:
            READER.read_kernel_tasks(path, X86_64)
        return str(caught.value)

    gone = str(tmp_path / "gone\n.json")
    assert refused(gone) == (
        f"{tmp_path}/gone\\n.json: no such file; "
        "make it with the gdb command kdump-save-kernel-json FILE"
    )
    assert "is a directory;" in refused(str(tmp_path))
    assert "is not a regular file;" in refused("/dev/null")
    assert "cannot be read" in refused("a\0b")
    monkeypatch.setattr(source, "MAX_SIDECAR_BYTES", 1 << 20)
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, (1 << 20) + 1)
    assert "is larger than 1 MiB, so it is no sidecar;" in refused(str(large))
    os.truncate(large, 1 << 20)
    assert "is larger" not in refused(str(large))


def test_an_unreadable_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read any file, so chmod cannot show it
    with pytest.raises(SidecarError, match=r"cannot be read \(Permission denied\); check the path"):
        READER.read_kernel_tasks(str(path), X86_64)


FACTS = DumpFacts(("dump",), "elf", X86_64, 4096, 2, release="6.1.0-9")
INFO = Vmcoreinfo(
    {"OSRELEASE": "6.1.0-9", "BUILD-ID": "ABCD", "CRASHTIME": "17", "KERNELOFFSET": "2a000000"}
)


@pytest.mark.parametrize(
    "identity",
    [
        DumpIdentity(),
        DumpIdentity("x86_64"),
        DumpIdentity("x86_64", "6.1.0-9", "abcd", 17, 0x2A00_0000),
    ],
)
def test_the_same_dump_is_accepted(identity: DumpIdentity) -> None:
    check_identity(identity, FACTS, INFO)
    check_identity(identity, FACTS, Vmcoreinfo({}))


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        (DumpIdentity("aarch64"), "dump.arch: the sidecar is of another dump (aarch64; this dump"),
        (DumpIdentity("x86_64", "6.2\n"), "dump.release: the sidecar is of another dump (6.2\\n; "),
        (DumpIdentity("x86_64", None, "12"), "dump.build_id: "),
        (DumpIdentity("x86_64", None, None, 18), "(18; this dump has 17)"),
        (DumpIdentity("x86_64", kaslr_offset=0), "(0x0; this dump has 0x2a000000)"),
    ],
)
def test_another_dump_is_refused(identity: DumpIdentity, shown: str) -> None:
    with pytest.raises(SidecarError) as caught:
        check_identity(identity, FACTS, INFO)
    assert shown in str(caught.value)
    assert str(caught.value).startswith("sidecar: dump.")
    assert str(caught.value).isprintable()
