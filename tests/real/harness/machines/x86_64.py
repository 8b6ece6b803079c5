"""x86_64: the cloud kernels of every Debian release from 11 on."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario

# The emulated CPU has five levels of page tables and needs no page-table isolation; the scenarios
# differ in both, so that each kind of address space is met in a real dump.
_SCENARIOS = {
    "panic": Scenario("max"),
    "live": Scenario("max", command_line="pti=on"),
    "kdump": Scenario("max", cpus=4, command_line="crashkernel=128M pti=on no5lvl"),
}

X86_64 = Machine(
    name="x86_64",
    debian="amd64",
    qemu="qemu-system-x86_64",
    qemu_package="qemu-system-x86",
    options=(),
    console="ttyS0",
    disk="virtio-blk-pci",
    user_mode="CS =0033",
    kernels={
        "5.10": KernelSource("bullseye", "5.10", "cloud-amd64"),
        "6.1": KernelSource("bookworm", "6.1", "cloud-amd64"),
        # The newest makedumpfile is older than these kernels: level 8 (user pages) takes kernel
        # data for user data and leaves it out.
        "6.12": KernelSource("bookworm", "6.12", "cloud-amd64", level=23),
        "7": KernelSource("trixie-backports", "7", "cloud-amd64", tools="forky", level=23),
    },
    scenarios=_SCENARIOS,
    everyday=("6.1-panic", "6.1-kdump", "6.1-live", "6.12-panic", "6.12-kdump"),
    compiler=Compiler("gcc", "gcc libc6-dev"),
    compiler32=Compiler("gcc", "gcc libc6-dev"),
    paging=True,
    # Where QEMU gets little CPU time, the kernel's check of the timer interrupt ends the boot.
    command_line="no_timer_check",
)
