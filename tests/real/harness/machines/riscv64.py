"""riscv64: one CPU model, since Debian's kernels find out what it has."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario, UserMode

RISCV64 = Machine(
    name="riscv64",
    debian="riscv64",
    qemu="qemu-system-riscv64",
    qemu_package="qemu-system-misc",
    options=("-machine", "virt"),
    console="ttyS0",
    disk="virtio-blk-pci",
    user_mode=r"pc +0000[0-7]",
    user_mode_note=UserMode(112, 1 << 63, 0),
    kernels={
        "6.12": KernelSource("trixie", "6.12", "riscv64", tools="trixie"),
        "7": KernelSource("forky", "7", "riscv64", tools="forky"),
    },
    scenarios={
        "panic": Scenario("rv64"),
        "live": Scenario("rv64"),
        "kdump": Scenario("rv64", cpus=4, command_line="crashkernel=256M", memory_mib=768),
    },
    compiler=Compiler("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"),
    static_pie=False,
    vmcoreinfo=False,
)
