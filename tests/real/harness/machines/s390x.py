"""s390x: the one machine here that stores its numbers big end first."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario, UserMode

S390X = Machine(
    name="s390x",
    debian="s390x",
    qemu="qemu-system-s390x",
    qemu_package="qemu-system-misc",
    options=("-machine", "s390-ccw-virtio"),
    console="ttysclp0",
    disk="virtio-blk-ccw",
    user_mode=r"mask [0-9a-f]{3}[13579bdf]",  # the problem state bit of the PSW
    user_mode_note=UserMode(112, 1 << 48, 1 << 48),
    kernels={"6.1": KernelSource("bookworm", "6.1", "s390x")},
    # Debian builds this kernel without CONFIG_CRASH_DUMP: no true kdump.
    scenarios={
        "panic": Scenario("max"),
    },
    compiler=Compiler("s390x-linux-gnu-gcc", "gcc-s390x-linux-gnu libc6-dev-s390x-cross"),
    vmcoreinfo=False,
    static_pie=False,
    panic_stops=True,
    byte_order="big",
)
