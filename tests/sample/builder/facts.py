"""What is known about the sample, for tests: facts.json. Numbers are hex strings."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from builder import kallsyms, layout, vmcore
from builder.layout import PAGE, direct
from builder.machine import Machine, own_addresses

REGISTERS = """r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags
    rsp ss fs_base gs_base ds es fs gs""".split()
PRSTATUS_AT = 12 + 8  # in the note, behind header and name
SYMBOLS = """_text _stext _end init_uts_ns init_top_pgt linux_banner init_task init_stack panic_cpu
    crashing_cpu nr_cpu_ids __per_cpu_offset __cpu_online_mask page_offset_base vmalloc_base
    phys_base vmcoreinfo_note sysrq_handle_crash entry_SYSCALL_64 panic crash_notes""".split()
PER_CPU_SYMBOLS = "current_task runqueues cpu_number cpu_current_top_of_stack".split()
BACKTRACE_CPU0 = """crash_setup_regs __crash_kexec panic sysrq_handle_crash __handle_sysrq
    write_sysrq_trigger proc_reg_write vfs_write ksys_write __x64_sys_write do_syscall_64
    entry_SYSCALL_64""".split()
BACKTRACE_CPU1 = """mwait_idle arch_cpu_idle default_idle_call cpuidle_idle_call do_idle
    cpu_startup_entry start_secondary secondary_startup_64_no_verify""".split()
BACKTRACE_SLEEPING = """__schedule schedule __x64_sys_pause do_syscall_64
    entry_SYSCALL_64""".split()


def _thread(machine: Machine, cpu: int, comm: str, backtrace: list[str]) -> dict[str, Any]:
    prstatus = machine.crash_note(cpu)[PRSTATUS_AT:]
    (pid,) = struct.unpack_from("<i", prstatus, 32)
    values = struct.unpack_from(f"<{len(REGISTERS)}Q", prstatus, 112)
    return {
        "cpu": cpu,
        "pid": pid,
        "comm": comm,
        "registers": {n: hex(v) for n, v in zip(REGISTERS, values, strict=True)},
        "backtrace": backtrace,
    }


def _patterns(machine: Machine) -> list[dict[str, str]]:
    """Pages whose every 64-bit word holds its own virtual address, little-endian."""
    pages = [("vmalloc, 4 KiB page", layout.TEST_AREA + n * PAGE) for n in layout.TEST_AREA_PAGES]
    pages += [
        ("direct mapping, 4 KiB page", direct(layout.LOW_PAGE)),
        ("direct mapping, 2 MiB page", direct(layout.ZERO_TAIL_PHYS)),
        ("direct mapping, 1 GiB page", direct(layout.HIGH_PAGE)),
    ]
    found = []
    for what, virtual in pages:
        physical = _physical(machine, virtual)
        assert machine.memory.read(physical, PAGE) == own_addresses(virtual)
        found.append({"what": what, "virtual": hex(virtual), "physical": hex(physical)})
    return found


def _physical(machine: Machine, virtual: int) -> int:
    physical = machine.tables.translate(machine.root, virtual)
    assert physical is not None
    return physical


def _memory(machine: Machine) -> list[dict[str, str]]:
    """Bytes at virtual addresses; the text spans a page boundary of two far-apart frames."""
    places = [
        ("linux_banner, kernel mapping in 2 MiB pages", machine.virtual("linux_banner"), 64),
        ("first instructions, kernel mapping", machine.virtual("_text"), 64),
        ("_text through the direct mapping", direct(layout.KERNEL_PHYS), 64),
        ("module area, 4 KiB page", layout.MODULES_VADDR, len(layout.MODULE_TEXT)),
        ("vmalloc, across two frames", layout.TEST_AREA + PAGE - 16, 32),
        ("init_task.comm and behind, kernel data", machine.virtual("init_task"), 64),
    ]
    found = []
    for what, virtual, size in places:
        last = _physical(machine, virtual + size - 1)
        data = machine.memory.read(_physical(machine, virtual), min(size, PAGE - virtual % PAGE))
        if len(data) < size:
            rest = size - len(data)
            data += machine.memory.read(last - rest + 1, rest)
        found.append({"what": what, "virtual": hex(virtual), "bytes": data.hex()})
    return found


def _unmapped(machine: Machine) -> list[dict[str, str]]:
    places = [
        ("hole between vmalloc pages", layout.TEST_AREA_HOLE),
        ("guard page behind the stack of pid 386", layout.SHELL_STACK + layout.THREAD_SIZE),
        ("guard page below the stack of pid 386", layout.SHELL_STACK - PAGE),
        ("first page of the address space", 0x10),
        ("behind the toy module", layout.MODULES_VADDR + PAGE),
        ("behind the direct mapping of low RAM", direct(layout.RAM_SIZE)),
        ("not canonical", 0x8000000000000000),
    ]
    for _, virtual in places[:-1]:
        assert machine.tables.translate(machine.root, virtual) is None
    return [{"what": what, "virtual": hex(virtual)} for what, virtual in places]


def _excluded(machine: Machine) -> list[dict[str, str]]:
    places = [
        ("vmalloc page", layout.TEST_AREA_EXCLUDED),
        ("the same page in the direct mapping", direct(layout.EXCLUDED_PHYS)),
        ("same 1 GiB page as a page that is there", direct(layout.HIGH_PAGE + PAGE)),
    ]
    return [
        {"what": what, "virtual": hex(virtual), "physical": hex(_physical(machine, virtual))}
        for what, virtual in places
    ]


def _sleeping(machine: Machine) -> dict[str, Any]:
    """Pid 1, switched away from: thread.sp leads to a struct inactive_task_frame."""
    task = direct(machine.task_frame) + 0x400
    sp = machine.memory.read_word(task - layout.PAGE_OFFSET + 24)
    frame = machine.memory.read(_physical(machine, sp), 56)
    names = "r15 r14 r13 r12 rbx rbp rip".split()
    registers = {n: hex(v) for n, v in zip(names, struct.unpack("<7Q", frame), strict=True)}
    return {
        "pid": 1,
        "comm": "init",
        "task": hex(task),
        "thread_sp": hex(sp),
        "registers": registers | {"rsp": hex(sp + 56)},
        "backtrace": BACKTRACE_SLEEPING,
    }


def _processes(machine: Machine) -> list[dict[str, Any]]:
    """User memory: page-table roots, and the user registers at the top of the kernel stack."""
    found = []
    for pid, number, stack, process in (
        (1, 1, layout.INIT_STACK, machine.init),
        (386, 2, layout.SHELL_STACK, machine.shell),
    ):
        found.append(
            {
                "pid": pid,
                "task": hex(direct(machine.task_frame) + 0x400 * number),
                "kernel_stack": hex(stack),
                "page_table_root_physical": hex(process.root),
                "user_pages": {hex(v): hex(p) for v, p in process.user_pages.items()},
                "user_rip": hex(process.code + layout.USER_CODE_ENTRY + 2),
                "user_rsp": hex(process.stack + layout.USER_SP_OFFSET),
                "fs_base": hex(process.fsbase),
            }
        )
    return found


def decoded_kallsyms(machine: Machine) -> list[kallsyms.Symbol]:
    """Symbols read back from the tables in the machine's memory, found as a reader would."""

    def table(name: str, size: int = 0x4000) -> bytes:
        return machine.memory.read(machine.physical(f"kallsyms_{name}"), size)

    (count,) = struct.unpack("<I", table("num_syms", 4))
    (base,) = struct.unpack("<Q", table("relative_base", 8))
    return kallsyms.decode(
        kallsyms.Tables(
            names=table("names"),
            count=count,
            token_table=table("token_table"),
            token_index=table("token_index"),
            offsets=table("offsets"),
            base=base,
        )
    )


def write(machine: Machine, symbols: dict[str, int], build_id: str, target: Path) -> None:
    """Write facts.json; symbols are link-time addresses."""
    offsets = [hex(direct(frame)) for frame in machine.percpu]
    banner = machine.memory.read(machine.physical("linux_banner"), 256)
    facts = {
        "arch": "x86_64",
        "osrelease": layout.RELEASE,
        "build_id": build_id,
        "linux_banner": banner[: banner.index(0)].decode(),
        "crashtime": layout.CRASHTIME,
        "cpus": 2,
        "panic_cpu": 0,
        "panic_pid": 386,
        "kaslr_offset": hex(layout.KASLR_OFFSET),
        "phys_base": machine.phys_base,
        "page_offset_base": hex(layout.PAGE_OFFSET),
        "vmalloc_base": hex(layout.VMALLOC_BASE),
        "kernel": {
            "virtual": hex(machine.virtual("_text")),
            "physical": hex(layout.KERNEL_PHYS),
            "size": hex(machine.kernel_size),
        },
        "page_table_root_physical": hex(machine.root),
        "symbols": {name: hex(machine.virtual(name)) for name in SYMBOLS},
        "per_cpu": {
            "offsets": offsets,
            "symbols": {name: hex(symbols[name]) for name in PER_CPU_SYMBOLS},
        },
        "kallsyms_count": len(decoded_kallsyms(machine)),
        "vmcoreinfo": vmcore.vmcoreinfo_text(machine, build_id),
        "threads": [
            _thread(machine, 0, "bash", BACKTRACE_CPU0),
            _thread(machine, 1, "swapper/1", BACKTRACE_CPU1),
        ],
        "sleeping": _sleeping(machine),
        "processes": _processes(machine),
        "own_address_pages": _patterns(machine),
        "memory": _memory(machine),
        "unmapped": _unmapped(machine),
        "excluded": _excluded(machine),
        "zero_tail": {
            "what": "in the dump's program headers but behind p_filesz",
            "virtual": hex(direct(layout.ZERO_TAIL_PHYS) + PAGE),
            "physical": hex(layout.ZERO_TAIL_PHYS + PAGE),
            "size": hex((layout.ZERO_TAIL_PAGES - 1) * PAGE),
        },
    }
    target.write_text(json.dumps(facts, indent=2) + "\n")
