"""What a sidecar tells of a dump: its tasks, or one process; plain values.

A sidecar is a JSON file that the gdb script writes while gdb knows the kernel's
types. Here stand the values, not the format: see `docs/sidecar.md` for that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kdump_gdbserver.domain.dump_facts import DumpFacts
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.page_walk import RootTable
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

_KERNEL_HALF = 1 << 63
_SWAPPER = re.compile(r"swapper/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class DumpIdentity:
    """Which dump a sidecar was taken from; None for what it does not tell.

    `build_id` is vmlinux's, lower-case hex; `crash_time` is in seconds since the
    epoch and `kaslr_offset` in bytes, both as VMCOREINFO has them. `source` is the
    file it was read from, for messages, and no part of the identity.
    """

    arch: str | None = None
    release: str | None = None
    build_id: str | None = None
    crash_time: int | None = None
    kaslr_offset: int | None = None
    source: str = field(default="sidecar", compare=False)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One kernel task.

    `pid` is the process id as users know it (the kernel's tgid), `tid` the kernel's
    `task->pid`. `comm` is the kernel's, without the brackets that a kernel thread is
    shown with. `address` is the task_struct's virtual address, `state` the letter ps
    shows. `cpu` is the CPU it was running on at the crash, `idle_cpu` the CPU whose
    idle task it is. `registers` are those of the switch frame (of a running task:
    none or few), gdb's names, unsigned.
    """

    pid: int
    tid: int
    comm: str
    registers: Mapping[str, int]
    ppid: int | None = None
    uid: int | None = None
    kthread: bool = False
    address: int | None = None
    state: str | None = None
    cpu: int | None = None
    idle_cpu: int | None = None

    @property
    def shown_name(self) -> str:
        """The name as ps and the sidecar write it: kernel threads in brackets."""
        return f"[{self.comm}]" if self.kthread else self.comm

    @property
    def idle_task_of(self) -> int | None:
        """The CPU whose idle task this is, or None.

        Where `idle_cpu` is not told it is read from the name `swapper/N` (kernel
        sched/core.c, init_idle); a plain `swapper` is the boot CPU's.
        """
        if self.idle_cpu is not None or self.tid != 0:
            return self.idle_cpu
        match = _SWAPPER.fullmatch(self.comm)
        return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class CpuRecord:
    """What ran on a CPU: `curr` is the virtual address of the runqueue's current task."""

    cpu: int
    curr: int | None = None


@dataclass(frozen=True, slots=True)
class KernelTasks:
    """All tasks of the kernel; `errors` are the problems met while collecting them."""

    identity: DumpIdentity
    tasks: tuple[TaskRecord, ...]
    cpus: tuple[CpuRecord, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def legacy(self) -> bool:
        """True for the earlier script's form, which tells no CPU and no identity."""
        return self.identity.arch is None


@dataclass(frozen=True, slots=True)
class ProcessThread:
    """One thread of a process; `registers` are its user-mode ones, unsigned.

    `cpu` is the CPU it ran on at the crash and `user_mode` whether it was in user mode
    there (None: unknown). `fpregs` are floating-point and vector registers by gdb's
    names; `siginfo` the fields of its last siginfo_t, `bytes` being all of it as hex;
    `fault_address` a user address.
    """

    pid: int
    tid: int
    comm: str
    registers: Mapping[str, int]
    cpu: int | None = None
    user_mode: bool | None = None
    fpregs: Mapping[str, int] = field(default_factory=dict)
    siginfo: Mapping[str, int | str] | None = None
    fault_address: int | None = None


@dataclass(frozen=True, slots=True)
class Vma:
    """One mapping: user addresses from `start` to before `end`, as /proc/PID/maps has it.

    `offset` is in bytes, `dev` is major:minor in hex, `path` may be "" or "[stack]".
    `file_size` in bytes and `file_mtime` in whole seconds since the epoch are those of
    the mapped file's inode at the crash.
    """

    start: int
    end: int
    perms: str
    offset: int = 0
    dev: str = "00:00"
    inode: int = 0
    path: str = ""
    file_size: int | None = None
    file_mtime: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessImage:
    """One user process: page table, threads, and what gdb asks of a live one.

    `rootpgt` is where its top page table is, as `root_table` tells; `loadaddr` the
    user address of the first executable mapping. `auxv` is the saved auxiliary vector
    up to AT_NULL, empty when unknown; `mode` is 64, or 32 for a compat process. `cwd` is
    the path of its working directory.
    """

    identity: DumpIdentity
    pid: int
    comm: str
    rootpgt: int
    loadaddr: int
    threads: tuple[ProcessThread, ...]
    auxv: bytes = b""
    exe: str | None = None
    cmdline: tuple[str, ...] = ()
    mode: int = 64
    vmas: tuple[Vma, ...] = ()
    errors: tuple[str, ...] = ()
    cwd: str | None = None

    @property
    def legacy(self) -> bool:
        """True for the earlier script's form, which has no more than registers."""
        return self.identity.arch is None

    @property
    def root_table(self) -> RootTable:
        """The top page table: `rootpgt` is a kernel virtual address (mm->pgd), or physical.

        No supported architecture has physical addresses of 64 bits, and all have the
        kernel in the upper half of the virtual ones: the two cannot be mixed up.
        """
        return RootTable(self.rootpgt, is_virtual=self.rootpgt >= _KERNEL_HALF)


def check_identity(identity: DumpIdentity, facts: DumpFacts, vmcoreinfo: Vmcoreinfo) -> None:
    """Raise `SidecarError` when a sidecar was taken from another dump.

    Compared is what both sides tell; what the earlier script wrote tells nothing and
    is always accepted.
    """
    compared: tuple[tuple[str, int | str | None, int | str | None], ...] = (
        ("arch", identity.arch, facts.arch.name),
        ("release", identity.release, facts.release or vmcoreinfo.release),
        ("build_id", identity.build_id, vmcoreinfo.build_id),
        ("kaslr_offset", identity.kaslr_offset, vmcoreinfo.kaslr_offset),
        ("crash_time", identity.crash_time, vmcoreinfo.crash_time),
    )
    for name, of_sidecar, of_dump in compared:
        if of_sidecar is None or of_dump is None or of_sidecar == of_dump:
            continue
        raise SidecarError(
            f"{identity.source}: dump.{name}: the sidecar is of another dump "
            f"({_shown(name, of_sidecar)}; this dump has {_shown(name, of_dump)}); "
            "give the sidecar that was made from this dump, or make one with the gdb script that "
            "--print-gdb-script names"
        )


def _shown(name: str, value: int | str) -> str:
    if isinstance(value, int):
        return hex(value) if name == "kaslr_offset" else str(value)
    return printable(value)
