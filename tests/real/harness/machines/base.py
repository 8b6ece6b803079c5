"""What the harness must know of a machine before it can boot a guest on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class KernelSource:
    """Where a kernel series comes from: the newest of `flavour` in Debian's suite `suite`.

    The image packages are called linux-image-`series`SOMETHING-`flavour`. `listed`: its dumps are
    in catalogue(). `runs_32_bits`: it runs 32-bit programs, if the machine has a compiler for
    them. `tools` is the suite of busybox, kexec and makedumpfile in its guests, `level` the dump
    level up to which that makedumpfile knows this kernel, None if it does not know it at all.
    """

    suite: str
    series: str
    flavour: str
    listed: bool = True
    runs_32_bits: bool = True
    tools: str = "bookworm"
    level: int | None = 31


@dataclass(frozen=True)
class Compiler:
    """A C compiler for user programs, and the Debian packages that bring it."""

    gcc: str
    packages: str


@dataclass(frozen=True)
class Scenario:
    """How one scenario runs on this machine: QEMU's CPU model, CPUs, kernel command line."""

    cpu: str
    cpus: int = 3
    command_line: str = ""
    memory_mib: int = 512


@dataclass(frozen=True)
class Machine:
    """One architecture.

    `debian` is Debian's name of it. `options` choose QEMU's machine, `disk` the device by which it
    shows a disk. `user_mode` is a regular expression that QEMU's "info registers" of a CPU in user
    mode matches. `spins_at_crash`: the spinner's CPU is found in user mode often enough to crash
    until it is. `everyday` names the dumps that the everyday tests use, as "6.1-panic".
    `compiler32` builds `plain32`. `static_pie`: the C library has what such programs start with.
    `paging`: QEMU can write dumps with virtual addresses. `vmcoreinfo`: the machine has the device
    by which a kernel hands its VMCOREINFO note to QEMU. `panic_stops`: a kernel that panics tells
    the machine, which stops, and says no more on its console. `before_kexec` is shell text that
    mends what kexec-tools of this machine finds in /proc/kallsyms and /proc/iomem; what it mounts
    there goes again.
    """

    name: str
    debian: str
    qemu: str
    qemu_package: str
    options: tuple[str, ...]
    console: str
    disk: str
    user_mode: str
    kernels: Mapping[str, KernelSource]
    scenarios: Mapping[str, Scenario]
    compiler: Compiler
    everyday: tuple[str, ...] = ()
    compiler32: Compiler | None = None
    spins_at_crash: bool = True
    static_pie: bool = True
    paging: bool = False
    vmcoreinfo: bool = True
    panic_stops: bool = False
    command_line: str = ""
    before_kexec: str = ""
    byte_order: Literal["little", "big"] = "little"
