"""riscv64: one CPU model, since Debian's kernels find out what it has."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario

# kexec leaves out of the vmcore what is reserved within the memory, which is most of the kernel's
# own; only the firmware's piece at the start cannot be read.
_BEFORE_KEXEC = """\
sed '/^  80000000/!{/^  .*: Reserved$/d}' /proc/iomem > /run/iomem
mount -o bind /run/iomem /proc/iomem
"""

RISCV64 = Machine(
    name="riscv64",
    debian="riscv64",
    qemu="qemu-system-riscv64",
    qemu_package="qemu-system-misc",
    options=("-machine", "virt"),
    console="ttyS0",
    disk="virtio-blk-pci",
    user_mode=r"(?m)^ pc +0000[0-7]",
    kernels={
        "6.12": KernelSource("trixie", "6.12", "riscv64", tools="trixie", listed=False),
        # The newest makedumpfile knows no more of this kernel than which pages are zero.
        "7": KernelSource("forky", "7", "riscv64", tools="forky", level=1),
    },
    scenarios={
        "panic": Scenario("rv64"),
        "live": Scenario("rv64"),
        "kdump": Scenario("rv64", cpus=4, command_line="crashkernel=256M", memory_mib=768),
    },
    before_kexec=_BEFORE_KEXEC,
    compiler=Compiler("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"),
    static_pie=False,
    vmcoreinfo=False,
)
