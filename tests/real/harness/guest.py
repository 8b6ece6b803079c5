"""The guest's initial RAM file system: the init script and what it needs."""

from __future__ import annotations

import shlex
from pathlib import Path

from .initramfs import Initramfs
from .kernels import GUEST_MODULES, Kernel
from .packages import Suite, fetched
from .programs import Program

# Symbols whose run-time addresses are told in the facts.
SYMBOLS = (
    "_text", "_stext", "_etext", "_end", "linux_banner", "init_task", "init_uts_ns", "init_mm",
    "panic", "sysrq_handle_crash", "__per_cpu_offset", "__per_cpu_start", "runqueues",
    "current_task", "pcpu_hot", "panic_cpu", "crashing_cpu", "crash_notes", "init_top_pgt",
    "swapper_pg_dir", "kallsyms_names", "page_offset_base", "vmalloc_base", "vmemmap_base",
    "jiffies_64", "modules", "schedule", "ret_from_fork", "entry_SYSCALL_64", "do_syscall_64",
    "__switch_to_asm", "poll_schedule_timeout", "default_idle", "native_safe_halt", "crash_kexec",
    "cpu_switch_to", "el0_svc", "el0t_64_sync", "cpu_do_idle", "call_on_irq_stack",
)  # fmt: skip

FACTS_DISK = "/dev/vda"
FACTS_DISK_BYTES = 32 << 20
READY = "HARNESS-READY"
FACTS_TRIES = 5000  # of 0.02 s and more

_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
taskset -p 1 $$ > /dev/null
mkdir -p -m 1777 /run/facts
for module in {modules}; do
    [ -e /modules/$module.ko ] && insmod /modules/$module.ko
done
echo 0 > /proc/sys/kernel/kptr_restrict
echo 1 > /proc/sys/kernel/sysrq
{before}
{programs}
tries=0
for name in {names}; do
    while ! [ -e "/run/facts/$name" ]; do
        tries=$((tries + 1))
        [ $tries -lt {tries} ] || {{ echo "no facts of $name"; poweroff -f; }}
        sleep 0.02
    done
done
sh /crash.sh
"""

_CRASH = """\
echo $$ > /run/facts/.shell
mv /run/facts/.shell /run/facts/shell_pid
report {disk} {symbols} || poweroff -f
{action}
"""


def main_guest(
    kernel: Kernel, sysroot: Path, programs: list[Program], *, action: str, before: str = ""
) -> Initramfs:
    """The initramfs that starts `programs`, tells the facts, then runs the shell text `action`.

    `before` is shell text that runs before the programs start. Everything but the programs that
    choose a CPU themselves stays on CPU 0.
    """
    tree = basic_guest(kernel)
    tree.tree(sysroot)
    starts = "\n".join(
        shlex.join([f"/bin/{p.name}", f"/run/facts/{p.name}", *p.arguments]) + " &"
        for p in programs
    )
    names = shlex.join(program.name for program in programs)
    modules = " ".join(GUEST_MODULES)
    tree.text("init", _INIT.format(modules=modules, before=before, programs=starts,
                                  names=names, tries=FACTS_TRIES))  # fmt: skip
    symbols = shlex.join(SYMBOLS)
    tree.text("crash.sh", _CRASH.format(disk=FACTS_DISK, symbols=symbols, action=action))
    return tree


def basic_guest(kernel: Kernel) -> Initramfs:
    """An initramfs with busybox and the kernel's modules, but no init."""
    tree = Initramfs()
    suite = Suite(kernel.source.tools, kernel.machine.debian)
    tree.file(fetched("busybox", ["busybox-static"], suite) / "bin/busybox", "bin/busybox")
    for name, path in kernel.modules.items():
        tree.file(path, f"modules/{name}.ko", mode=0o644)
    return tree
