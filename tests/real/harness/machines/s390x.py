"""s390x: the one machine here that stores its numbers big end first."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario

S390X = Machine(
    name="s390x",
    debian="s390x",
    qemu="qemu-system-s390x",
    qemu_package="qemu-system-misc",
    options=("-machine", "s390-ccw-virtio"),
    console="ttysclp0",
    disk="virtio-blk-ccw",
    user_mode=r"mask [0-9a-f]{3}[13579bdf]",  # the problem state bit of the PSW
    kernels={"6.1": KernelSource("bookworm", "6.1", "s390x")},
    # Debian builds this kernel without CONFIG_CRASH_DUMP: no true kdump.
    scenarios={
        "panic": Scenario("max"),
        "live": Scenario("max"),
    },
    compiler=Compiler("s390x-linux-gnu-gcc", "gcc-s390x-linux-gnu libc6-dev-s390x-cross"),
    vmcoreinfo=False,
    static_pie=False,
    panic_stops=True,
    byte_order="big",
)
