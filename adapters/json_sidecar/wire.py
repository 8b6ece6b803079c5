"""The JSON of sidecars, as types: msgspec decodes and checks in one go.

Keys that are not named here are ignored, so that a later script may add some
without a new version. Register values are left to `registers.py`, which knows
the architecture.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Pid = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Uid = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Cpu = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Unsigned = Annotated[int, Meta(ge=0)]
Letter = Annotated[str, Meta(min_length=1, max_length=1)]
Perms = Annotated[str, Meta(pattern=r"^[r-][w-][x-][ps]\Z")]
Hex = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]*\Z")]
Device = Annotated[str, Meta(pattern=r"^[0-9a-f]+:[0-9a-f]+\Z")]


class Header(Struct):
    """What tells one file from another, not looked into yet."""

    format: Raw | UnsetType = UNSET
    version: Raw | UnsetType = UNSET
    threads: Raw | UnsetType = UNSET
    rootpgt: Raw | UnsetType = UNSET
    loadaddr: Raw | UnsetType = UNSET


class Dump(Struct):
    """The dump a sidecar was taken from."""

    arch: str
    release: str | None = None
    build_id: Hex | None = None
    crash_time: Unsigned | None = None
    kaslr_offset: Unsigned | None = None


class Task(Struct, gc=False):
    """One task of a kernel sidecar."""

    pid: Pid
    tid: Pid
    comm: str
    registers: dict[str, int]
    ppid: Pid | None = None
    uid: Uid | None = None
    kthread: bool | None = None
    address: Unsigned | None = None
    state: Letter | None = None
    cpu: Cpu | None = None
    idle_cpu: Cpu | None = None


class CpuEntry(Struct):
    """One CPU of a kernel sidecar."""

    cpu: Cpu
    curr: Unsigned | None = None


class LegacyKernel(Struct):
    """A kernel sidecar as the earlier script writes it."""

    threads: list[Task]


class Kernel(Struct):
    """A kernel sidecar, version 1."""

    dump: Dump
    threads: list[Task]
    cpus: list[CpuEntry] = []
    errors: list[str] = []


class Thread(Struct):
    """One thread of a process sidecar."""

    pid: Pid
    tid: Pid
    comm: str
    registers: dict[str, int]
    cpu: Cpu | None = None
    user_mode: bool | None = None
    fpregs: dict[str, int] = {}
    siginfo: dict[str, int | str] | None = None
    fault_address: Unsigned | None = None


class Mapping(Struct, gc=False):
    """One line of /proc/PID/maps."""

    start: Unsigned
    end: Unsigned
    perms: Perms
    offset: Unsigned = 0
    dev: Device = "00:00"
    inode: Unsigned = 0
    path: str = ""
    file_size: Unsigned | None = None
    file_mtime: Unsigned | None = None


class LegacyProcess(Struct):
    """A process sidecar as the earlier script writes it."""

    rootpgt: Unsigned
    loadaddr: Unsigned
    threads: list[Thread]


class Process(Struct):
    """A process sidecar, version 1."""

    dump: Dump
    rootpgt: Unsigned
    loadaddr: Unsigned
    threads: list[Thread]
    pid: Pid | None = None
    comm: str | None = None
    auxv: str = ""
    exe: str | None = None
    cwd: str | None = None
    cmdline: list[str] = []
    mode: Literal[32, 64] = 64
    vmas: list[Mapping] = []
    errors: list[str] = []
