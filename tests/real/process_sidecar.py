"""Makes a process sidecar with drgn, apart from the gdb script: the second witness in tests.

Usage: python process_sidecar.py VMLINUX DUMP PID [read] - writes the JSON to standard output;
with `read`, lines of "ADDRESS LENGTH" on standard input give bytes in hex, or "fault".
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_FEW = {"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cs", "ss"}
_NAMES = {
    **{name: name for name in _FEW},
    **{f"r{name}": name for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
    "rip": "ip",
    "eflags": "flags",
    "orig_rax": "orig_ax",
}


def _process(program: Any, pid: int) -> dict[str, Any]:
    from drgn.helpers.linux.mm import for_each_vma
    from drgn.helpers.linux.pid import find_task
    from drgn.helpers.linux.sched import cpu_curr

    leader = find_task(program, pid)
    mm = leader.mm
    running = {}
    for number in range(program["nr_cpu_ids"].value_()):
        try:
            running[cpu_curr(program, number).value_()] = number
        except Exception:  # a CPU that is not there
            continue
    bits = 32 if leader.thread_info.flags.value_() & 1 << 29 else 64  # TIF_ADDR32
    vmas = [_vma(program, mm, vma) for vma in for_each_vma(mm)]
    return {
        "format": "kdump-gdbserver process",
        "version": 1,
        "dump": {
            "release": program["init_uts_ns"].name.release.string_().decode(),
            "arch": "x86_64",
            "build_id": None,
        },
        "pid": pid,
        "comm": leader.comm.string_().decode(),
        "rootpgt": mm.pgd.value_(),
        "loadaddr": next(vma["start"] for vma in vmas if "x" in vma["perms"]),
        "mode": bits,
        "auxv": _auxv(mm, bits),
        "exe": _path(mm.exe_file),
        "cmdline": _cmdline(program, mm),
        "vmas": vmas,
        "threads": [_thread(program, task, pid, running) for task in _threads(leader)],
    }


def _threads(leader: Any) -> list[Any]:
    from drgn.helpers.linux.list import list_for_each_entry

    head = leader.signal.thread_head.address_of_()
    return list(list_for_each_entry("struct task_struct", head, "thread_node"))


def _thread(program: Any, task: Any, pid: int, running: dict[int, int]) -> dict[str, Any]:
    from drgn import Object

    size = program.type("struct pt_regs").size
    where = task.stack.value_() + 0x4000 - size
    saved = Object(program, "struct pt_regs", address=where)
    registers = {name: getattr(saved, member).value_() for name, member in _NAMES.items()}
    registers["cs"] &= 0xFFFF
    registers["ss"] &= 0xFFFF
    registers["fs_base"] = task.thread.fsbase.value_()
    registers["gs_base"] = task.thread.gsbase.value_()
    thread = {
        "pid": pid,
        "tid": task.pid.value_(),
        "comm": task.comm.string_().decode(),
        "registers": registers,
    }
    cpu = running.get(task.value_())
    if cpu is not None:
        thread["cpu"] = cpu
    else:
        thread["fpregs"] = _fpregs(program, task)
    return thread


def _fpregs(program: Any, task: Any) -> dict[str, int]:
    state = task.thread.fpu.fpstate.regs
    fx = state.fxsave
    raw = program.read(fx.address_of_().value_(), 512)
    registers = {
        "fctrl": int.from_bytes(raw[0:2], "little"),
        "fstat": int.from_bytes(raw[2:4], "little"),
        "mxcsr": int.from_bytes(raw[24:28], "little"),
    }
    for i in range(8):
        registers[f"st{i}"] = int.from_bytes(raw[32 + 16 * i : 42 + 16 * i], "little")
    for i in range(16):
        registers[f"xmm{i}"] = int.from_bytes(raw[160 + 16 * i : 176 + 16 * i], "little")
    xsave = program.read(state.xsave.address_of_().value_(), 576 + 256)
    if int.from_bytes(xsave[512:520], "little") & 4:
        for i in range(16):
            high = xsave[576 + 16 * i : 592 + 16 * i]
            registers[f"ymm{i}h"] = int.from_bytes(high, "little")
    return registers


def _auxv(mm: Any, bits: int) -> str:
    raw = b"".join(word.value_().to_bytes(8, "little") for word in mm.saved_auxv)
    entry = 2 * bits // 8
    kinds = (raw[at : at + bits // 8] for at in range(0, len(raw), entry))
    return raw[: entry * (1 + next(i for i, kind in enumerate(kinds) if not any(kind)))].hex()


def _path(file: Any) -> str:
    from drgn.helpers.linux.fs import d_path

    return str(d_path(file.f_path).decode())


def _cmdline(program: Any, mm: Any) -> list[str]:
    from drgn.helpers.linux.mm import access_remote_vm

    start, end = mm.arg_start.value_(), mm.arg_end.value_()
    raw: bytes = access_remote_vm(mm, start, end - start)
    return raw.rstrip(b"\0").decode().split("\0")


def _vma(program: Any, mm: Any, vma: Any) -> dict[str, Any]:
    flags = vma.vm_flags.value_()
    start, end = vma.vm_start.value_(), vma.vm_end.value_()
    perms = "".join(c if flags & 1 << i else "-" for i, c in enumerate("rwx"))
    result: dict[str, Any] = {"start": start, "end": end}
    result["perms"] = perms + ("s" if flags & 8 else "p")
    if vma.vm_file:
        inode = vma.vm_file.f_inode
        device = inode.i_sb.s_dev.value_()
        result["offset"] = vma.vm_pgoff.value_() * 4096
        result["dev"] = f"{device >> 20:02x}:{device & 0xFFFFF:02x}"
        result["inode"] = inode.i_ino.value_()
        result["path"] = _path(vma.vm_file)
        result["file_size"] = inode.i_size.value_()
        result["file_mtime"] = _modified(inode)
    elif start <= mm.brk.value_() and end >= mm.start_brk.value_():
        result["path"] = "[heap]"
    elif start <= mm.start_stack.value_() < end:
        result["path"] = "[stack]"
    elif start == mm.context.vdso.value_():
        result["path"] = "[vdso]"
    elif vma.vm_ops and program.symbol(vma.vm_ops).name == "special_mapping_vmops":
        result["path"] = "[vvar]"
    return result


def _modified(inode: Any) -> int:
    for name in ("i_mtime_sec", "i_mtime", "__i_mtime"):  # as Linux 6.11, 6.5, 6.6 has it
        if hasattr(inode, name):
            value = getattr(inode, name)
            return int(value.value_() if name.endswith("sec") else value.tv_sec.value_())
    raise LookupError("struct inode has no time of modification")


def _open(vmlinux: str, dump: str) -> Any:
    import drgn

    program = drgn.Program()
    program.set_core_dump(dump)
    program.load_debug_info([vmlinux])
    return program


def _read(program: Any, pid: int) -> None:
    import drgn
    from drgn.helpers.linux.mm import access_remote_vm
    from drgn.helpers.linux.pid import find_task

    mm = find_task(program, pid).mm
    for line in sys.stdin:
        address, length = (int(word, 0) for word in line.split())
        try:
            print(access_remote_vm(mm, address, length).hex())
        except drgn.FaultError:
            print("fault")


def run(vmlinux: Path, dump: Path, pid: int, *more: str, given: str = "") -> str:
    """Run this file in a process of its own; return what it prints."""
    command = [sys.executable, __file__, str(vmlinux), str(dump), str(pid), *more]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    opened = _open(sys.argv[1], sys.argv[2])
    if sys.argv[4:] == ["read"]:
        _read(opened, int(sys.argv[3]))
    else:
        print(json.dumps(_process(opened, int(sys.argv[3])), indent=1))
