"""What happens to a guest: the scenarios, each ending in dump files in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import facts, kdump
from .errors import HarnessError
from .guest import READY, main_guest
from .kernels import Kernel
from .outcome import CRASH, SPINNER_CPU, command_line, save, sparse_copy
from .programs import build, program_list
from .qemu import Qemu

CPUS = 3
BOOT_TIMEOUT_S = 180
# The panic's last line shows on the console only once the other CPUs have been stopped.
PANIC_END = r"end Kernel panic"
_USER_CODE_SEGMENT = "CS =0033"

# Blocks the shell itself, so that the task list stays as it was told.
STAY = f"mkfifo /run/never; echo {READY}; read line < /run/never"


def make(kernel: Kernel, scenario: str, folder: Path) -> None:
    """Run `scenario` on `kernel`; fill `folder` with dumps/, facts.json, console.log, sysroot/."""
    if scenario == "kdump":
        kdump.make(kernel, folder)
        return
    sysroot = folder / "sysroot"
    programs = program_list(SPINNER_CPU)
    build(sysroot, programs)
    (folder / "dumps").mkdir()
    work = folder / "work"
    work.mkdir()
    action = CRASH if scenario == "panic" else STAY
    main_guest(kernel, sysroot, programs, action=action).write(work / "initrd")
    with Qemu(kernel.image, work / "initrd", command_line(scenario), cpus=CPUS,
              facts=work / "facts", extra=["-device", "vmcoreinfo"]) as guest:  # fmt: skip
        guest.wait_for(PANIC_END if scenario == "panic" else READY, BOOT_TIMEOUT_S)
        if scenario == "live":
            _stop_in_user_mode(guest, SPINNER_CPU)
        else:
            guest.qmp("stop")
        registers = [guest.cpu_registers(cpu) for cpu in range(CPUS)]
        _dump_all(guest, work, folder / "dumps", elf_only=scenario == "live")
        told = facts.parse((work / "facts").read_bytes())
        told["crash_pid"] = told["shell_pid"] if scenario == "panic" else None
        told["qemu_registers"] = registers
        told["qemu"] = guest.qmp("query-version")["package"]
        save(folder, told, guest.console)
    shutil.rmtree(work)


def _stop_in_user_mode(guest: Qemu, cpu: int, attempts: int = 200) -> None:
    """Stop the guest at a moment when `cpu` runs user code, as its spinner nearly always does."""
    for _ in range(attempts):
        guest.qmp("stop")
        if _USER_CODE_SEGMENT in guest.cpu_registers(cpu):
            return
        guest.qmp("cont")
    raise HarnessError(f"CPU {cpu} was never found in user mode in {attempts} looks")


def _dump_all(guest: Qemu, work: Path, target: Path, *, elf_only: bool) -> None:
    """Dump the stopped guest in each form that QEMU has; the file is named after the form.

    "elf-paging" is the ELF form whose segments carry virtual addresses.
    """
    for form in ["elf"] if elf_only else ["elf-paging", *guest.dump_formats()]:
        raw = work / form
        guest.dump(raw, form.removesuffix("-paging"), paging=form.endswith("-paging"))
        sparse_copy(raw, target / form)
        raw.unlink()
