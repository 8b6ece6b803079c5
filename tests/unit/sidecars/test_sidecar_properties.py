"""Sidecars of any content: written and read again, damaged, and against the schemas."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader
from kdump_gdbserver.domain.arch import ARCHITECTURES, X86_64, Arch
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.sidecars import (
    CpuRecord,
    DumpIdentity,
    KernelTasks,
    ProcessImage,
    ProcessThread,
    TaskRecord,
    Vma,
)
from tests.support.sidecar_writer import write_kernel_tasks, write_process

READER = JsonSidecarReader()
DOCS = Path(__file__).parents[3] / "docs"


def schema(kind: str, earlier: bool = False) -> jsonschema.Draft202012Validator:
    content = json.loads((DOCS / f"{kind}.schema.json").read_text())
    if earlier:  # the same without what says that it is version 1
        content["required"] = [
            key for key in content["required"] if key not in ("format", "version", "dump")
        ]
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


KERNEL_SCHEMA = schema("kernel-tasks")
PROCESS_SCHEMA = schema("process")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sidecars") / "sidecar.json"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
PIDS = st.integers(1, 2**31 - 1)
CPUS = st.none() | st.integers(0, 9999)
ADDRESSES = st.integers(0, 2**64 - 1)


def registers(arch: Arch, *optional: str) -> st.SearchStrategy[dict[str, int]]:
    slots = arch.layout(*optional).by_name
    return st.lists(st.sampled_from(sorted(slots)), unique=True, max_size=8).flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.integers(0, 2 ** slots[name].register.bits - 1) for name in names}
        )
    )


def identities(arch: Arch) -> st.SearchStrategy[DumpIdentity]:
    return st.builds(
        DumpIdentity,
        st.just(arch.name),
        st.none() | TEXT,
        st.none() | st.text("0123456789abcdef"),
        st.none() | ADDRESSES,
        st.none() | ADDRESSES,
    )


@st.composite
def kernel_tasks(draw: st.DrawFn) -> tuple[Arch, KernelTasks]:
    arch = draw(st.sampled_from(sorted(ARCHITECTURES.values(), key=lambda a: a.name)))
    task = st.builds(
        TaskRecord,
        PIDS,
        PIDS,
        TEXT,
        registers(arch),
        st.none() | PIDS,
        st.none() | st.integers(0, 2**32 - 1),
        st.booleans(),
        st.none() | ADDRESSES,
        st.none() | st.sampled_from("RSDTtZXIP"),
        CPUS,
        CPUS,
    )
    tasks = draw(st.lists(task, min_size=1, max_size=6, unique_by=lambda t: t.tid))
    idle = [
        TaskRecord(0, 0, f"swapper/{cpu}", {}, kthread=True, idle_cpu=cpu)
        for cpu in draw(st.sets(st.integers(0, 20), max_size=3))
    ]
    cpus = draw(
        st.lists(
            st.builds(CpuRecord, st.integers(0, 99), st.none() | ADDRESSES),
            unique_by=lambda c: c.cpu,
            max_size=4,
        )
    )
    errors = tuple(draw(st.lists(TEXT, max_size=2)))
    content = KernelTasks(draw(identities(arch)), (*idle, *tasks), tuple(cpus), errors)
    return arch, content


@st.composite
def process_images(draw: st.DrawFn) -> tuple[Arch, ProcessImage]:
    arch = draw(st.sampled_from(sorted(ARCHITECTURES.values(), key=lambda a: a.name)))
    thread = st.builds(
        ProcessThread,
        PIDS,
        PIDS,
        TEXT,
        registers(arch),
        CPUS,
        st.none() | st.booleans(),
        registers(arch, *arch.optional),
        st.none() | st.dictionaries(TEXT, st.integers(-(2**31), 2**32) | TEXT, max_size=3),
        st.none() | ADDRESSES,
    )
    spans = st.tuples(ADDRESSES, ADDRESSES).filter(lambda ends: ends[0] != ends[1]).map(sorted)
    vma = st.builds(
        lambda span, *rest: Vma(*span, *rest),
        spans,
        st.from_regex(r"[r-][w-][x-][ps]", fullmatch=True),
        ADDRESSES,
        st.from_regex(r"[0-9a-f]{2}:[0-9a-f]{2}", fullmatch=True),
        ADDRESSES,
        TEXT,
    )
    image = ProcessImage(
        draw(identities(arch)),
        draw(PIDS),
        draw(TEXT),
        draw(st.integers(1, 2**64 - 1)),
        draw(ADDRESSES),
        tuple(draw(st.lists(thread, min_size=1, max_size=4, unique_by=lambda t: t.tid))),
        draw(st.binary(max_size=8)) * 16,
        draw(st.none() | TEXT),
        tuple(draw(st.lists(TEXT, max_size=3))),
        draw(st.sampled_from((32, 64))),
        tuple(draw(st.lists(vma, max_size=3))),
        tuple(draw(st.lists(TEXT, max_size=2))),
        draw(st.none() | TEXT),
    )
    return arch, image


@given(kernel_tasks())
def test_kernel_tasks_come_back(file: Path, made: tuple[Arch, KernelTasks]) -> None:
    arch, tasks = made
    # A name in brackets needs `kthread` to tell; it is always written.
    write_kernel_tasks(str(file), tasks)
    assert READER.read_kernel_tasks(str(file), arch) == tasks
    KERNEL_SCHEMA.validate(json.loads(file.read_text()))


@given(process_images())
def test_a_process_comes_back(file: Path, made: tuple[Arch, ProcessImage]) -> None:
    arch, image = made
    write_process(str(file), image)
    assert READER.read_process(str(file), arch) == image
    PROCESS_SCHEMA.validate(json.loads(file.read_text()))


KERNEL: dict[str, Any] = {
    "format": "kdump-gdbserver kernel tasks",
    "version": 1,
    "dump": {
        "arch": "x86_64",
        "release": "6.1",
        "build_id": "0a",
        "crash_time": 1,
        "kaslr_offset": 2,
    },
    "threads": [
        {
            "pid": 1,
            "tid": tid,
            "comm": "a",
            "registers": {"rip": 1, "rsp": 2, "eflags": 3},
            "ppid": 0,
            "uid": 0,
            "kthread": False,
            "address": 4096,
            "state": "S",
            "cpu": 0,
            "idle_cpu": 0,
        }
        for tid in (1, 2)
    ],
    "cpus": [{"cpu": 0, "curr": 4096}],
    "errors": ["text"],
}
PROCESS: dict[str, Any] = {
    "format": "kdump-gdbserver process",
    "version": 1,
    "dump": KERNEL["dump"],
    "rootpgt": 4096,
    "loadaddr": 4096,
    "threads": [
        {
            "pid": 1,
            "tid": 1,
            "comm": "a",
            "registers": {"rip": 1},
            "cpu": 0,
            "user_mode": True,
            "fpregs": {"mxcsr": 1},
            "siginfo": {"signo": 11, "raw": "00"},
            "fault_address": 0,
        }
    ],
    "pid": 1,
    "comm": "a",
    "auxv": "",
    "exe": "/bin/a",
    "cwd": "/",
    "cmdline": ["a"],
    "mode": 64,
    "vmas": [
        {
            "start": 0,
            "end": 1,
            "perms": "r--p",
            "offset": 0,
            "dev": "00:01",
            "inode": 0,
            "path": "",
        }
    ],
    "errors": [],
}
LEGACY_KERNEL = {
    "threads": [{k: KERNEL["threads"][0][k] for k in ("pid", "tid", "comm", "registers")}]
}
LEGACY_PROCESS = {**LEGACY_KERNEL, "rootpgt": 4096, "loadaddr": 4096}

Place = tuple[str | int, ...]


def places(content: Any, above: Place = ()) -> Iterator[Place]:
    members = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in members:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def spelled(place: Place) -> str:
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
    return text.removeprefix(".")


def put(content: Any, place: Place, value: object) -> Any:
    changed = copy.deepcopy(content)
    at = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return changed


WRONG: tuple[object, ...] = ("no", -1, 1.5, True, None, [], {}, [[]], {"rip": []}, 2**70)
KINDS = {
    "kernel": (KERNEL, KERNEL_SCHEMA, READER.read_kernel_tasks),
    "process": (PROCESS, PROCESS_SCHEMA, READER.read_process),
    "earlier kernel": (LEGACY_KERNEL, schema("kernel-tasks", True), READER.read_kernel_tasks),
    "earlier process": (LEGACY_PROCESS, schema("process", True), READER.read_process),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_type_anywhere_is_named(file: Path, kind: str) -> None:
    content, validator, read = KINDS[kind]
    file.write_text(json.dumps(content))
    read(str(file), X86_64)
    refused = 0
    for place in places(content):
        for value in WRONG:
            changed = put(content, place, value)
            file.write_text(json.dumps(changed))
            try:
                read(str(file), X86_64)
            except SidecarError as error:
                # The field itself, or what is missing or wrong inside of the value put there.
                text = str(error).removeprefix(f"{file}: ")
                assert text.startswith(spelled(place)), f"{text!r} for {place} = {value!r}"
                refused += 1
            else:
                assert validator.is_valid(changed), f"{place} = {value!r}"
    assert refused > 4 * len(list(places(content)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_field_is_named(file: Path, kind: str) -> None:
    content, validator, read = KINDS[kind]
    for place in places(content):
        if isinstance(place[-1], int):
            continue
        changed = copy.deepcopy(content)
        at: Any = changed
        for key in place[:-1]:
            at = at[key]
        del at[place[-1]]
        file.write_text(json.dumps(changed))
        if validator.is_valid(changed):
            read(str(file), X86_64)
        else:
            with pytest.raises(SidecarError) as caught:
                read(str(file), X86_64)
            assert re.search(rf"\b{place[-1]}\b", str(caught.value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["threads", "pid", "tid", "comm", "registers", "rip", "format", "x"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.binary(max_size=64)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(
        st.sampled_from([KERNEL, PROCESS]), st.integers(0, 4000), st.binary(max_size=3)
    ).map(lambda cut: json.dumps(cut[0]).encode()[: cut[1]] + cut[2])
)
def test_any_bytes_are_read_or_refused(file: Path, raw: bytes) -> None:
    file.write_bytes(raw)
    for read in (READER.read_kernel_tasks, READER.read_process):
        try:
            content = read(str(file), X86_64)
        except SidecarError as error:
            assert str(error).startswith(f"{file}: ")
            assert str(error).isprintable()
            assert len(str(error)) < 600
        else:
            assert isinstance(content, KernelTasks | ProcessImage)


TASKS = KernelTasks(DumpIdentity("x86_64"), (TaskRecord(1, 1, "init", {}),))


def test_a_name_that_is_no_utf8_comes_escaped(tmp_path: Path) -> None:
    path = str(tmp_path / "tasks.json")
    broken = TaskRecord(1, 1, b"a\xff".decode("utf-8", "surrogateescape"), {})
    write_kernel_tasks(path, dataclasses.replace(TASKS, tasks=(broken,)))
    assert READER.read_kernel_tasks(path, X86_64).tasks[0].comm == r"a\udcff"


@given(st.sampled_from(sorted(KERNEL["threads"][0])), st.integers(1, 60))
def test_a_cut_file_is_told_as_cut(file: Path, key: str, cut: int) -> None:
    raw = json.dumps(KERNEL).encode()
    file.write_bytes(raw[: max(1, raw.rfind(f'"{key}"'.encode()) - cut)])
    with pytest.raises(SidecarError, match="truncated"):
        READER.read_kernel_tasks(str(file), X86_64)
