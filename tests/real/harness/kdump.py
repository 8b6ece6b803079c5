"""The scenario of a real kdump: a capture kernel runs makedumpfile on /proc/vmcore.

The crashed kernel's memory leaves the guest over two raw disks: one takes makedumpfile's
flattened stream, the other a copy of /proc/vmcore. On x86_64 all other forms are made from those
two by the same makedumpfile on the host.
"""

from __future__ import annotations

import shlex
import shutil
import struct
from pathlib import Path
from typing import Any

from . import facts
from .boot import booted
from .crash_tools import HostMakedumpfile, add_tool
from .elf_core import prstatus_registers
from .errors import HarnessError
from .guest import basic_guest, main_guest
from .initramfs import Initramfs
from .kernels import GUEST_MODULES, Kernel
from .machines import X86_64
from .outcome import CRASH, SPINNER_CPU, save, sparse_copy
from .programs import Program, build, program_list

OFFLINE_CPU = 1
ATTEMPTS = 4
DONE = "CAPTURE-DONE"
DISK_BYTES = 2 << 30

_CAPTURE_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in {modules}; do
    [ -e /modules/$module.ko ] && insmod /modules/$module.ko
done
echo "VMCORE-BYTES $(stat -c %s /proc/vmcore)"
if {save} && cat /proc/vmcore > /dev/vdc; then
    sync
    echo {done}
fi
poweroff -f
"""

_BEFORE = """\
{prepare}
kexec -p --command-line={command_line} --initrd=/capture/initrd /capture/vmlinuz || poweroff -f
umount /proc/kallsyms /proc/iomem 2> /dev/null
echo 0 > /sys/devices/system/cpu/cpu{offline}/online
"""


def make(kernel: Kernel, folder: Path) -> None:
    """Crash `kernel` with a capture kernel loaded; fill `folder` as scenarios.make() does."""
    programs = program_list(kernel, SPINNER_CPU)
    build(kernel.machine, folder / "sysroot", programs)
    dumps = folder / "dumps"
    dumps.mkdir()
    work = folder / "work"
    work.mkdir()
    _write_guest(kernel, folder / "sysroot", programs, work)
    console, told = _crash_in_user_mode(kernel, work)
    told["crash_pid"] = told["shell_pid"]
    save(folder, told, console)
    level = kernel.source.level
    sparse_copy(work / "elf", dumps / "elf", int(console.split("VMCORE-BYTES ")[1].split()[0]))
    if level is not None:
        flattened = dumps / "flattened"
        sparse_copy(work / "flattened", flattened, flattened_size(work / "flattened"))
        makedumpfile = HostMakedumpfile(kernel.source.tools)
        makedumpfile.rearrange(flattened, dumps / f"d{level}-zlib")
        if kernel.machine is X86_64:
            makedumpfile.other_forms(dumps, level)
    shutil.rmtree(work)


def _write_guest(kernel: Kernel, sysroot: Path, programs: list[Program], work: Path) -> None:
    command_line = (f"console={kernel.machine.console} quiet loglevel=3 rdinit=/init nr_cpus=1 "
                    f"reset_devices irqpoll {kernel.machine.command_line}")  # fmt: skip
    before = _BEFORE.format(
        prepare=kernel.machine.before_kexec, command_line=shlex.quote(command_line),
        offline=OFFLINE_CPU,
    )  # fmt: skip
    tree = main_guest(kernel, sysroot, programs, action=CRASH, before=before)
    _capture_guest(kernel).write(work / "capture")
    add_tool(tree, kernel, "kexec")
    tree.file(kernel.image, "capture/vmlinuz")
    tree.file(work / "capture", "capture/initrd")
    tree.write(work / "initrd")


def _capture_guest(kernel: Kernel) -> Initramfs:
    tree = basic_guest(kernel)
    level = kernel.source.level
    save = "true" if level is None else f"makedumpfile -F -c -d {level} /proc/vmcore > /dev/vdb"
    modules = " ".join(GUEST_MODULES)
    tree.text("init", _CAPTURE_INIT.format(modules=modules, save=save, done=DONE))
    add_tool(tree, kernel, "makedumpfile")
    return tree


def _crash_in_user_mode(
    kernel: Kernel, work: Path, attempts: int = 4
) -> tuple[str, dict[str, Any]]:
    """The console and the facts of a crash that came while the spinner was in its loop.

    Crashes again if a timer tick had just taken it out of user mode.
    """
    for _ in range(ATTEMPTS):
        console = _run(kernel, work)
        told = facts.parse((work / "facts").read_bytes())
        loop = range(*(told["programs"]["spinner"][end] for end in ("spin_begin", "spin_end")))
        notes = prstatus_registers(work / "elf")
        caught = any(word in loop for registers in notes for word in registers)
        if caught or not kernel.machine.spins_at_crash:
            return console, told
    raise HarnessError(f"no CPU was in user mode in {ATTEMPTS} crashes")


def _run(kernel: Kernel, work: Path) -> str:
    with booted(kernel, "kdump", work, {"flattened": DISK_BYTES, "elf": DISK_BYTES}, DONE) as guest:
        guest.wait_end(60)
        return guest.console


def flattened_size(path: Path) -> int:
    """The length in bytes of the flattened stream at the start of the file `path`.

    Format: makedumpfile.h, struct makedumpfile_header (one 4096-byte block) and
    makedumpfile_data_header; a pair of -1 ends the stream.
    """
    pair = struct.Struct(">qq")
    with path.open("rb") as stream:
        if not stream.read(4096).startswith(b"makedumpfile\0"):
            raise HarnessError("the capture kernel's makedumpfile wrote no flattened stream")
        while True:
            _offset, size = pair.unpack(stream.read(pair.size))
            if size < 0:
                return stream.tell()
            stream.seek(size, 1)
