"""aarch64: with and without pointer authentication, 4 KiB and 16 KiB pages."""

from __future__ import annotations

from .base import Compiler, KernelSource, Machine, Scenario

# "max" has pointer authentication, here with QEMU's own quick algorithm: the kernel cannot tell.
# cortex-a76 has none, but unlike cortex-a72 it has pages of 16 KiB.
# QEMU leaves too little room for SVE notes of CPUs whose vectors differ in length: memory then lies
# elsewhere in the file than its headers say.
_WITH_PAC, _WITHOUT_PAC = "max,pauth-impdef=on,sve=off", "cortex-a76"

# kexec wants the address of _text, which 6.1 does not list; it is 64 KiB below _stext (the
# kernel's arch/arm64/kernel/vmlinux.lds.S). Without it the vmcore's headers would be nonsense.
_BEFORE_KEXEC = """\
if ! grep -q ' _text$' /proc/kallsyms; then
    stext=$(sed -n 's/ T _stext$//p' /proc/kallsyms)
    { printf '%x T _text\\n' $((0x$stext - 0x10000)); cat /proc/kallsyms; } > /run/kallsyms
    mount -o bind /run/kallsyms /proc/kallsyms
fi
"""

AARCH64 = Machine(
    name="aarch64",
    debian="arm64",
    qemu="qemu-system-aarch64",
    qemu_package="qemu-system-arm",
    options=("-machine", "virt,gic-version=3"),
    console="ttyAMA0",
    disk="virtio-blk-pci",
    user_mode="EL0t",
    kernels={
        "6.1": KernelSource("bookworm", "6.1", "cloud-arm64"),
        # No makedumpfile up to 1.7.8 knows virtual addresses of 52 bits.
        "6.12": KernelSource("bookworm", "6.12", "cloud-arm64", level=None),
        # Linux runs 32-bit programs on 4 KiB pages only.
        "6.12-16k": KernelSource(
            "trixie", "6.12", "arm64-16k", runs_32_bits=False, tools="trixie", level=None
        ),
    },
    scenarios={
        "panic": Scenario(_WITH_PAC),
        "nopac": Scenario(_WITHOUT_PAC),
        "live": Scenario(_WITH_PAC),
        "kdump": Scenario(_WITH_PAC, cpus=4, command_line="crashkernel=192M", memory_mib=768),
    },
    before_kexec=_BEFORE_KEXEC,
    everyday=("6.1-panic", "6.1-nopac", "6.1-live", "6.1-kdump"),
    compiler=Compiler("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    compiler32=Compiler("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"),
)
