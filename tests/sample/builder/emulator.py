"""Runs the toy kernel until both CPUs have crashed. Needs the unicorn package (PyPI)."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import unicorn
from unicorn import x86_const as x86

from builder import layout
from builder.machine import Machine, Process

CR0_PROTECTED_PAGING = 0x80050033
CR4_PAE_GLOBAL = 0xA0
EFER_LONG_NX = 0xD01
MSR_EFER, MSR_KERNEL_GS_BASE = 0xC0000080, 0xC0000102
MONITOR, MWAIT = b"\x0f\x01\xc8", b"\x0f\x01\xc9"
MAX_INSTRUCTIONS = 1_000_000


class Cpu:
    """One emulated CPU on the machine's memory."""

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine = machine
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        for base, bank in machine.memory.banks.items():
            address = ctypes.addressof(bank)
            self._uc.mem_map_ptr(base, len(bank), unicorn.UC_PROT_ALL, address)
        self._uc.reg_write(x86.UC_X86_REG_MSR, (MSR_EFER, EFER_LONG_NX))
        self._uc.reg_write(x86.UC_X86_REG_CR4, CR4_PAE_GLOBAL)
        self._uc.reg_write(x86.UC_X86_REG_CR3, machine.root)
        self._uc.reg_write(x86.UC_X86_REG_CR0, CR0_PROTECTED_PAGING)
        self._percpu = layout.direct(machine.percpu[number])
        self._uc.reg_write(x86.UC_X86_REG_GS_BASE, self._percpu)

    def set(self, **registers: int) -> None:
        """Set general registers, for example set(rdi=1)."""
        for name, value in registers.items():
            self._uc.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)

    def get(self, name: str) -> int:
        """Value of a general register."""
        return int(self._uc.reg_read(getattr(x86, f"UC_X86_REG_{name.upper()}")))

    def run(self, start: int) -> None:
        """Run from a virtual address until the CPU halts or is about to mwait."""

        def watch(uc: Any, address: int, _size: int, _data: object) -> None:
            code = bytes(uc.mem_read(self._physical(address), len(MWAIT)))
            if code == MWAIT:
                uc.emu_stop()
            elif code == MONITOR:  # the emulator does not know it; it has no lasting effect
                self.set(rip=address + len(MONITOR))

        hook = self._uc.hook_add(unicorn.UC_HOOK_CODE, watch)
        try:
            self._uc.emu_start(start, 0, count=MAX_INSTRUCTIONS)
        except unicorn.UcError as error:
            where = self.get("rip")
            raise SystemExit(f"the toy kernel failed at rip {where:#x}: {error}") from error
        finally:
            self._uc.hook_del(hook)

    def _physical(self, virtual: int) -> int:
        physical = self._machine.tables.translate(self._machine.root, virtual)
        if physical is None:
            raise SystemExit(f"the toy kernel left mapped code: rip {virtual:#x}")
        return physical

    def system_call(self, process: Process, number: int, *arguments: int) -> None:
        """What the syscall instruction does in user mode, then the kernel from its entry."""
        self._uc.reg_write(x86.UC_X86_REG_MSR, (MSR_KERNEL_GS_BASE, self._percpu))
        self._uc.reg_write(x86.UC_X86_REG_GS_BASE, 0)
        user_ip = process.code + layout.USER_CODE_ENTRY
        self.set(
            rax=number,
            rcx=user_ip + 2,
            r11=0x246,
            rbx=0x55D0C2A4F010,
            rbp=2,
            r12=2,
            r13=0x7F3C8A39E780,
            r14=0x7F3C8A39A9E0,
            r15=1,
            r8=0,
            r9=0,
            r10=0x63,
            rsp=process.stack + layout.USER_SP_OFFSET,
            eflags=0x2,
        )
        self.set(**dict(zip(("rdi", "rsi", "rdx"), arguments, strict=False)))
        self.run(self._machine.virtual("entry_SYSCALL_64"))

    def non_maskable_interrupt(self) -> None:
        """Deliver an NMI: registers go to the NMI stack, crash_nmi_callback takes them."""
        names = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi".split()
        words = [self.get(name) for name in names] + [(1 << 64) - 1]
        words += [self.get("rip") + len(MWAIT), 0x10, self.get("eflags"), self.get("rsp"), 0x18]
        top = 4096 - 8 * len(words)
        frame = struct.pack(f"<{len(words)}Q", *words)
        self._machine.memory.write(self._machine.physical("nmi_stack") + top, frame)
        regs = self._machine.virtual("nmi_stack") + top
        self.set(rdi=regs, rsp=regs - 8)  # the stack of a function just called
        self.run(self._machine.virtual("crash_nmi_callback"))


def boot_and_crash(machine: Machine) -> None:
    """CPU 0 boots and starts pid 1 and 386, CPU 1 idles, then 386 writes to sysrq-trigger."""
    cpu0, cpu1 = Cpu(machine, 0), Cpu(machine, 1)
    cpu0.set(rsp=machine.virtual("init_stack") + layout.THREAD_SIZE)
    cpu0.run(machine.virtual("startup_64"))
    cpu1.set(rsp=layout.IDLE1_STACK + layout.THREAD_SIZE)
    cpu1.run(machine.virtual("secondary_startup_64_no_verify"))
    _check(cpu0, machine, "ret_from_fork")
    cpu0.system_call(machine.init, layout.NR_PAUSE)
    _check(cpu0, machine, "ret_from_fork")
    buffer = machine.shell.stack + layout.SYSRQ_BUFFER_OFFSET
    cpu0.system_call(machine.shell, layout.NR_WRITE, 1, buffer, 2)
    _check(cpu0, machine, "machine_kexec")
    cpu1.non_maskable_interrupt()
    _check(cpu1, machine, "crash_nmi_callback")


def _check(cpu: Cpu, machine: Machine, symbol: str) -> None:
    start: int = machine.virtual(symbol)
    if not start <= cpu.get("rip") <= start + 256:
        raise SystemExit(f"the toy kernel stopped at {cpu.get('rip'):#x}, not in {symbol}")
