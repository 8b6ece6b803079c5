"""What happens to a guest: the scenarios, each ending in dump files in a folder."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from . import facts, kdump
from .boot import booted
from .elf_core import check_elf_size
from .errors import HarnessError
from .guest import READY, main_guest
from .kernels import Kernel
from .machines import Machine
from .outcome import CRASH, SPINNER_CPU, save, sparse_copy
from .programs import build, program_list
from .qemu import Qemu

PANIC = r"Kernel panic - not syncing: sysrq"
# The panic's last line shows on the console only once the other CPUs have been stopped.
PANIC_END = r"end Kernel panic"

# After READY the shell has still to open the pipe that it waits for.
SETTLE_S = 0.5

# Blocks the shell itself, so that the task list stays as it was told.
STAY = f"mkfifo /run/never; echo {READY}; read line < /run/never"


def make(kernel: Kernel, scenario: str, folder: Path) -> None:
    """Run `scenario` on `kernel`; fill `folder` with dumps/, facts.json, console.log, sysroot/."""
    if scenario == "kdump":
        kdump.make(kernel, folder)
        return
    machine = kernel.machine
    sysroot = folder / "sysroot"
    programs = program_list(kernel, SPINNER_CPU)
    build(machine, sysroot, programs)
    (folder / "dumps").mkdir()
    work = folder / "work"
    work.mkdir()
    stays = scenario == "live"
    action = STAY if stays else CRASH
    main_guest(kernel, sysroot, programs, action=action).write(work / "initrd")
    end = READY if stays else PANIC if machine.panic_stops else PANIC_END
    with booted(kernel, scenario, work, {}, end) as guest:
        if stays:
            time.sleep(SETTLE_S)
            _stop_in_user_mode(guest, machine, SPINNER_CPU)
        elif machine.panic_stops:
            guest.wait_stopped(60)
        else:
            guest.qmp("stop")
        registers = [guest.cpu_registers(cpu) for cpu in range(machine.scenarios[scenario].cpus)]
        _dump_all(guest, work, folder / "dumps", paging=machine.paging, elf_only=stays)
        told = facts.parse((work / "facts").read_bytes())
        told["crash_pid"] = None if stays else told["shell_pid"]
        told["qemu_registers"] = registers
        told["qemu"] = guest.qmp("query-version")["package"]
        save(folder, told, guest.console)
    shutil.rmtree(work)


def _stop_in_user_mode(guest: Qemu, machine: Machine, cpu: int, attempts: int = 200) -> None:
    """Stop the guest at a moment when `cpu` runs user code, as its spinner nearly always does."""
    for _ in range(attempts):
        guest.qmp("stop")
        if re.search(machine.user_mode, guest.cpu_registers(cpu)):
            return
        guest.qmp("cont")
    raise HarnessError(f"CPU {cpu} was never found in user mode in {attempts} looks")


def _dump_all(guest: Qemu, work: Path, target: Path, *, paging: bool, elf_only: bool) -> None:
    """Dump the stopped guest in each form that QEMU has; the file is named after the form.

    "elf-paging" is the ELF form whose segments carry virtual addresses.
    """
    forms = [*(["elf-paging"] if paging else []), *guest.dump_formats()]
    for form in ["elf"] if elf_only else forms:
        raw = work / form
        guest.dump(raw, form.removesuffix("-paging"), paging=form.endswith("-paging"))
        if form.startswith("elf"):
            check_elf_size(raw)
        sparse_copy(raw, target / form)
        raw.unlink()
