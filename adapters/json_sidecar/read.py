"""Wire types to the domain's values, with the checks that need more than one field."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Protocol

from kdump_gdbserver.adapters.json_sidecar import wire
from kdump_gdbserver.adapters.json_sidecar.decode import decode, is_legacy
from kdump_gdbserver.adapters.json_sidecar.registers import RegisterChecker
from kdump_gdbserver.adapters.json_sidecar.source import Kind, Source
from kdump_gdbserver.domain.arch.model import Arch
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


class JsonSidecarReader:
    """Sidecars as JSON files; implements `ports.sidecar_reader.SidecarReader`."""

    def read_kernel_tasks(self, path: str, arch: Arch) -> KernelTasks:
        """See `SidecarReader.read_kernel_tasks`."""
        source = Source(path, Kind.KERNEL)
        raw = source.load()
        if is_legacy(source, raw):
            identity = DumpIdentity(source=source.name)
            legacy = decode(source, raw, wire.LegacyKernel)
            return KernelTasks(identity, _tasks(source, legacy.threads, arch))
        kernel = decode(source, raw, wire.Kernel)
        return KernelTasks(
            _identity(source, kernel.dump, arch),
            _tasks(source, kernel.threads, arch),
            tuple(_cpus(source, kernel.cpus, arch)),
            tuple(kernel.errors),
        )

    def read_process(self, path: str, arch: Arch) -> ProcessImage:
        """See `SidecarReader.read_process`."""
        source = Source(path, Kind.PROCESS)
        raw = source.load()
        if is_legacy(source, raw):
            old = decode(source, raw, wire.LegacyProcess)
            empty = wire.Dump(arch=arch.name)
            image = wire.Process(empty, old.rootpgt, old.loadaddr, old.threads)
            identity = DumpIdentity(source=source.name)
        else:
            image = decode(source, raw, wire.Process)
            identity = _identity(source, image.dump, arch)
        if image.rootpgt == 0:
            advice = "choose a process that has user memory (a kernel thread has none)"
            raise source.error("rootpgt", "is 0, which is no page table", advice)
        _require_address(source, "rootpgt", image.rootpgt, arch)
        _require_address(source, "loadaddr", image.loadaddr, arch)
        threads = _threads(source, image.threads, arch)
        leader = next((thread for thread in threads if thread.tid == thread.pid), threads[0])
        return ProcessImage(
            identity,
            leader.pid if image.pid is None else image.pid,
            leader.comm if image.comm is None else image.comm,
            image.rootpgt,
            image.loadaddr,
            threads,
            _auxv(source, image.auxv, image.mode),
            image.exe,
            tuple(image.cmdline),
            image.mode,
            tuple(_vmas(source, image.vmas, arch)),
            tuple(image.errors),
            image.cwd,
        )


def _identity(source: Source, dump: wire.Dump, arch: Arch) -> DumpIdentity:
    # The architecture is compared here already: with another one, register names and
    # sizes would be complained of, and not the reason.
    if dump.arch != arch.name:
        problem = f"the sidecar is of a dump of '{dump.arch}', this dump is of {arch.name}"
        raise source.error("dump.arch", problem, "give the sidecar that was made from this dump")
    build_id = None if dump.build_id is None else dump.build_id.lower()
    return DumpIdentity(
        dump.arch, dump.release, build_id, dump.crash_time, dump.kaslr_offset, source.name
    )


def _tasks(source: Source, threads: list[wire.Task], arch: Arch) -> tuple[TaskRecord, ...]:
    _require_threads(source, threads)
    checker = RegisterChecker(arch)
    mask = arch.pointer_mask
    tasks: list[TaskRecord] = []
    seen: dict[int, int] = {}
    idle: dict[int | None, int] = {}
    for index, task in enumerate(threads):
        record = _task(source, task, index, checker)
        if record.address is not None and record.address > mask:
            _require_address(source, f"threads[{index}].address", record.address, arch)
        if record.tid == 0:
            first = idle.setdefault(record.idle_task_of, index)
        else:
            first = seen.setdefault(record.tid, index)
        if first != index:
            raise _duplicate(source, record, index, first)
        tasks.append(record)
    return tuple(tasks)


def _task(source: Source, task: wire.Task, index: int, checker: RegisterChecker) -> TaskRecord:
    def complain(name: str, problem: str) -> Exception:
        return source.error(f"threads[{index}].registers.{name}", problem)

    comm = task.comm
    bracketed = len(comm) >= 2 and comm[0] == "[" and comm[-1] == "]"
    # The earlier script has no `kthread`; its brackets say that the task has no mm.
    kthread = bracketed if task.kthread is None else task.kthread
    return TaskRecord(
        task.pid,
        task.tid,
        comm[1:-1] if kthread and bracketed else comm,
        checker.check(task.registers, complain),
        task.ppid,
        task.uid,
        kthread,
        task.address,
        task.state,
        task.cpu,
        task.idle_cpu,
    )


def _cpus(source: Source, cpus: list[wire.CpuEntry], arch: Arch) -> Iterable[CpuRecord]:
    seen: set[int] = set()
    for index, entry in enumerate(cpus):
        if entry.cpu in seen:
            raise source.error(f"cpus[{index}].cpu", f"CPU {entry.cpu} is there twice")
        seen.add(entry.cpu)
        if entry.curr is not None:
            _require_address(source, f"cpus[{index}].curr", entry.curr, arch)
        yield CpuRecord(entry.cpu, entry.curr)


def _threads(source: Source, threads: list[wire.Thread], arch: Arch) -> tuple[ProcessThread, ...]:
    _require_threads(source, threads)
    checker = RegisterChecker(arch, *arch.optional)
    result: list[ProcessThread] = []
    seen: dict[int, int] = {}
    for index, thread in enumerate(threads):
        field = f"threads[{index}]"
        if thread.tid == 0:
            raise source.error(f"{field}.tid", "is 0, which is no thread of a process")
        first = seen.setdefault(thread.tid, index)
        if first != index:
            raise _duplicate(source, thread, index, first)
        if thread.fault_address is not None:
            _require_address(source, f"{field}.fault_address", thread.fault_address, arch)
        result.append(
            ProcessThread(
                thread.pid,
                thread.tid,
                thread.comm,
                _checked(source, checker, f"{field}.registers", thread.registers),
                thread.cpu,
                thread.user_mode,
                _checked(source, checker, f"{field}.fpregs", thread.fpregs),
                thread.siginfo,
                thread.fault_address,
            )
        )
    return tuple(result)


def _checked(
    source: Source, checker: RegisterChecker, field: str, values: dict[str, int]
) -> dict[str, int]:
    return checker.check(values, lambda name, problem: source.error(f"{field}.{name}", problem))


def _vmas(source: Source, vmas: list[wire.Mapping], arch: Arch) -> Iterable[Vma]:
    for index, vma in enumerate(vmas):
        _require_address(source, f"vmas[{index}].start", vma.start, arch)
        _require_address(source, f"vmas[{index}].end", vma.end, arch)
        if vma.start >= vma.end:
            raise source.error(f"vmas[{index}].end", "is not above the start")
        yield Vma(
            vma.start,
            vma.end,
            vma.perms,
            vma.offset,
            vma.dev,
            vma.inode,
            vma.path,
            vma.file_size,
            vma.file_mtime,
        )


def _auxv(source: Source, text: str, mode: int) -> bytes:
    try:
        auxv = binascii.unhexlify(text)
    except ValueError:
        raise source.error("auxv", "is not a string of hex byte pairs") from None
    entry = 2 * mode // 8
    if len(auxv) % entry:
        raise source.error("auxv", f"has {len(auxv)} bytes, not a multiple of {entry}")
    return auxv


def _require_address(source: Source, field: str, value: int, arch: Arch) -> None:
    if value > arch.pointer_mask:
        bits = 8 * arch.pointer_size
        raise source.error(field, f"address of {value.bit_length()} bits, not {bits}")


def _require_threads(source: Source, threads: list[wire.Task] | list[wire.Thread]) -> None:
    if not threads:
        raise source.error("threads", "is empty")


class _HasTid(Protocol):
    @property
    def tid(self) -> int: ...


def _duplicate(source: Source, thread: _HasTid, index: int, first: int) -> SidecarError:
    idle = isinstance(thread, TaskRecord) and thread.tid == 0
    what = "tid 0 with the same idle_cpu" if idle else f"tid {thread.tid}"
    return source.error(f"threads[{index}].tid", f"{what} is in threads[{first}] already")
