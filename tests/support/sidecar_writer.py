"""Sidecars out of plain values, in the form that docs/sidecar.md describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdump_gdbserver.adapters.json_sidecar.source import FORMAT_VERSION, Kind
from kdump_gdbserver.domain.sidecars import (
    DumpIdentity,
    KernelTasks,
    ProcessImage,
    ProcessThread,
    TaskRecord,
    Vma,
)

_SURROGATE = re.compile("[\ud800-\udfff]")


def write_kernel_tasks(path: Path | str, tasks: KernelTasks) -> None:
    """Write a kernel sidecar."""
    content = {
        **_head(Kind.KERNEL, tasks.identity),
        "cpus": [_given(cpu=entry.cpu, curr=entry.curr) for entry in tasks.cpus],
        "errors": list(tasks.errors),
        "threads": [_task(task) for task in tasks.tasks],
    }
    Path(path).write_text(_render(content), encoding="utf-8")


def write_process(path: Path | str, image: ProcessImage) -> None:
    """Write a process sidecar."""
    content = {
        **_head(Kind.PROCESS, image.identity),
        **_given(
            pid=image.pid,
            comm=image.comm,
            rootpgt=image.rootpgt,
            loadaddr=image.loadaddr,
            exe=image.exe,
            cwd=image.cwd,
        ),
        "cmdline": list(image.cmdline),
        "mode": image.mode,
        "auxv": image.auxv.hex(),
        "errors": list(image.errors),
        "vmas": [_vma(vma) for vma in image.vmas],
        "threads": [_thread(thread) for thread in image.threads],
    }
    Path(path).write_text(_render(content), encoding="utf-8")


def _head(kind: Kind, identity: DumpIdentity) -> dict[str, Any]:
    dump = {"release": identity.release, "build_id": identity.build_id, "arch": identity.arch}
    more = _given(crash_time=identity.crash_time, kaslr_offset=identity.kaslr_offset)
    return {"format": kind.value, "version": FORMAT_VERSION, "dump": {**dump, **more}}


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _task(task: TaskRecord) -> dict[str, object]:
    return _given(
        pid=task.pid,
        tid=task.tid,
        ppid=task.ppid,
        uid=task.uid,
        comm=task.shown_name,  # in brackets, as the earlier script's readers expect it
        kthread=task.kthread,
        address=task.address,
        state=task.state,
        cpu=task.cpu,
        idle_cpu=task.idle_cpu,
        registers=dict(task.registers),
    )


def _thread(thread: ProcessThread) -> dict[str, object]:
    return _given(
        pid=thread.pid,
        tid=thread.tid,
        comm=thread.comm,
        cpu=thread.cpu,
        user_mode=thread.user_mode,
        registers=dict(thread.registers),
        fpregs=dict(thread.fpregs),
        siginfo=None if thread.siginfo is None else dict(thread.siginfo),
        fault_address=thread.fault_address,
    )


def _vma(vma: Vma) -> dict[str, object]:
    return _given(
        start=vma.start,
        end=vma.end,
        perms=vma.perms,
        offset=vma.offset,
        dev=vma.dev,
        inode=vma.inode,
        path=vma.path,
        file_size=vma.file_size,
        file_mtime=vma.file_mtime,
    )


def _render(content: Mapping[str, object]) -> str:
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    # A name that is no UTF-8 comes with lone surrogates, which JSON cannot carry.
    return _SURROGATE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text)
