"""ppc64le: a pseries machine with 64 KiB pages."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario

PPC64LE = Machine(
    name="ppc64le",
    debian="ppc64el",
    qemu="qemu-system-ppc64",
    qemu_package="qemu-system-ppc",
    options=("-machine", "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken"),
    console="hvc0",
    disk="virtio-blk-pci",
    user_mode=r"MSR [0-9a-f]{12}[4-7c-f]",
    # A tick of the timer is nearly always pending beside the interrupt that stops a CPU.
    spins_at_crash=False,
    kernels={"6.1": KernelSource("bookworm", "6.1", "powerpc64le")},
    scenarios={
        "panic": Scenario("power9", memory_mib=1024),
        "live": Scenario("power9", memory_mib=1024),
        "kdump": Scenario("power9", cpus=4, command_line="crashkernel=384M", memory_mib=1024),
    },
    compiler=Compiler(
        "powerpc64le-linux-gnu-gcc", "gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross"
    ),
    vmcoreinfo=False,
    static_pie=False,
    panic_stops=True,
)
