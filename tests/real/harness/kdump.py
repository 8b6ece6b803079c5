"""The scenario of a real kdump: a capture kernel runs makedumpfile on /proc/vmcore.

The crashed kernel's memory leaves the guest over two raw virtio disks: one takes makedumpfile's
flattened stream, the other a copy of /proc/vmcore. All other forms are made from those two by the
same makedumpfile on the host.
"""

from __future__ import annotations

import shlex
import shutil
import struct
from pathlib import Path

from . import facts
from .boot import booted
from .errors import HarnessError
from .guest import basic_guest, main_guest
from .initramfs import Initramfs
from .kernels import GUEST_MODULES, Kernel
from .outcome import CRASH, SPINNER_CPU, save, sparse_copy
from .packages import fetched
from .programs import build, program_list
from .recompress import recompress
from .tools import run

OFFLINE_CPU = 1
DONE = "CAPTURE-DONE"
DISK_BYTES = 1 << 30
USER_CODE_SEGMENT = 0x33  # __USER_CS of arch/x86/include/asm/segment.h
_PT_NOTE, _NT_PRSTATUS, _PRSTATUS_BYTES, _PRSTATUS_CS = 4, 1, 336, 112 + 17 * 8

_PACKAGES = ["makedumpfile", "libc6", "libdw1", "libelf1", "zlib1g", "liblzo2-2", "libbz2-1.0",
             "liblzma5", "libzstd1", "libsnappy1v5", "libstdc++6", "libgcc-s1"]  # fmt: skip
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_CAPTURE_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=3 rdinit=/init nr_cpus=1 reset_devices irqpoll"
)

# Debian's makedumpfile is older than 6.12: there its level 8 (user pages) takes kernel data for
# user data and leaves it out, so the good dumps of that kernel stop at the other levels.
LEVELS = {"6.1": 31, "6.12": 23}

_CAPTURE_INIT = f"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in {" ".join(GUEST_MODULES)}; do
    [ -e /modules/$module.ko ] && insmod /modules/$module.ko
done
echo "VMCORE-BYTES $(stat -c %s /proc/vmcore)"
if makedumpfile -F -c -d $LEVEL /proc/vmcore > /dev/vdb && cat /proc/vmcore > /dev/vdc; then
    sync
    echo {DONE}
fi
poweroff -f
"""

_BEFORE = f"""\
kexec_crash /capture/vmlinuz /capture/initrd {shlex.quote(_CAPTURE_COMMAND_LINE)}
echo 0 > /sys/devices/system/cpu/cpu{OFFLINE_CPU}/online
"""


def make(kernel: Kernel, folder: Path) -> None:
    """Crash `kernel` with a capture kernel loaded; fill `folder` as scenarios.make() does."""
    tools = _crash_tools()
    programs = program_list(kernel, SPINNER_CPU)
    build(kernel.machine, folder / "sysroot", programs)
    dumps = folder / "dumps"
    dumps.mkdir()
    work = folder / "work"
    work.mkdir()
    tree = main_guest(kernel, folder / "sysroot", programs, action=CRASH, before=_BEFORE)
    _capture_guest(kernel, tools).write(work / "capture")
    tree.file(kernel.image, "capture/vmlinuz")
    tree.file(work / "capture", "capture/initrd")
    tree.write(work / "initrd")
    console = _crash_in_user_mode(kernel, work)
    told = facts.parse((work / "facts").read_bytes())
    told["crash_pid"] = told["shell_pid"]
    save(folder, told, console)
    sparse_copy(work / "elf", dumps / "elf", int(console.split("VMCORE-BYTES ")[1].split()[0]))
    sparse_copy(work / "flattened", dumps / "flattened", flattened_size(work / "flattened"))
    shutil.rmtree(work)
    _other_forms(tools, dumps, _level(kernel))


def _crash_tools() -> Path:
    try:
        return fetched("crash-tools", _PACKAGES)
    except HarnessError:
        # Debian 13's names for two of them, after the change to 64-bit time.
        renamed = {"libdw1": "libdw1t64", "libelf1": "libelf1t64"}
        return fetched("crash-tools", [renamed.get(name, name) for name in _PACKAGES])


def _capture_guest(kernel: Kernel, tools: Path) -> Initramfs:
    tree = basic_guest(kernel)
    tree.text("init", _CAPTURE_INIT.replace("$LEVEL", str(_level(kernel))))
    tree.file(tools / "usr/bin/makedumpfile", "usr/bin/makedumpfile")
    tree.file(_loader(tools), "lib64/ld-linux-x86-64.so.2")
    for library in ("libdw.so.1", "libelf.so.1", "libz.so.1", "liblzo2.so.2", "libbz2.so.1.0",
                    "liblzma.so.5", "libzstd.so.1", "libc.so.6"):  # fmt: skip
        tree.file(_library(tools, library), f"{_LIBRARIES}/{library}")
    return tree


def _level(kernel: Kernel) -> int:
    return LEVELS[".".join(kernel.release.split(".")[:2])]


def _library(tools: Path, name: str) -> Path:
    """The file of library `name`: Debian's packages still spread over /lib and /usr/lib."""
    for folder in (_LIBRARIES, "/lib/x86_64-linux-gnu"):
        path = tools / folder.lstrip("/") / name
        if path.exists():
            return path.resolve()
    raise HarnessError(f"the packages unpacked in {tools} hold no {name}")


def _loader(tools: Path) -> Path:
    return _library(tools, "ld-linux-x86-64.so.2")


def _crash_in_user_mode(kernel: Kernel, work: Path, attempts: int = 4) -> str:
    """Crash the guest, again if a timer tick had just taken the spinner out of user mode."""
    for _ in range(attempts):
        console = _run(kernel, work)
        with (work / "elf").open("rb") as vmcore:
            if USER_CODE_SEGMENT in code_segments(vmcore.read(1 << 20)):
                return console
    raise HarnessError(f"no CPU was in user mode in {attempts} crashes")


def _run(kernel: Kernel, work: Path) -> str:
    with booted(kernel, "kdump", work, {"flattened": DISK_BYTES, "elf": DISK_BYTES}, DONE) as guest:
        guest.wait_end(60)
        return guest.console


def code_segments(head: bytes) -> list[int]:
    """The cs register of each NT_PRSTATUS note, from the first bytes of a 64-bit ELF vmcore.

    Offsets: elf(5), and struct elf_prstatus of the kernel's include/linux/elfcore.h on x86_64.
    """
    first, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    found = []
    for index in range(count):
        kind, _flags, at, _va, _pa, size = struct.unpack_from("<IIQQQQ", head, first + 56 * index)
        end = at + size
        while kind == _PT_NOTE and at < end:
            name_size, size, note = struct.unpack_from("<III", head, at)
            at += 12 + (name_size + 3 & ~3)
            if note == _NT_PRSTATUS and size == _PRSTATUS_BYTES:
                found.append(struct.unpack_from("<Q", head, at + _PRSTATUS_CS)[0])
            at += size + 3 & ~3
    return found


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


def _other_forms(tools: Path, dumps: Path, level: int) -> None:
    folders = [tools / _LIBRARIES.lstrip("/"), tools / "lib/x86_64-linux-gnu"]
    start: list[str | Path] = [_loader(tools), "--library-path", ":".join(map(str, folders)),
                               tools / "usr/bin/makedumpfile"]  # fmt: skip
    elf, zlib = dumps / "elf", dumps / f"d{level}-zlib"
    with (dumps / "flattened").open("rb") as stream:
        run([*start, "-R", zlib], stdin=stream)
    run([*start, "-c", "-d", "0", elf, dumps / "d0-zlib"])
    run([*start, "-l", "-d", str(level), elf, dumps / f"d{level}-lzo"])
    run([*start, "-E", "-d", str(level), elf, dumps / f"elf-d{level}"])
    if level != 31:
        run([*start, "-c", "-d", "31", elf, dumps / "damaged"])
    # The default block of 1 GiB would put all of a small guest's memory into the first file.
    split = ["-c", "-d", str(level), "--split", "--splitblock-size", "16"]
    run([*start, *split, elf, dumps / "split.1", dumps / "split.2"])
    for method, name in (("zstd", "libzstd.so.1"), ("snappy", "libsnappy.so.1")):
        recompress(zlib, dumps / f"d{level}-{method}", method, _library(tools, name))
