"""Backtraces from an interrupt stack to the one that was interrupted."""

from typing import Any, Dict, Optional, Tuple

import gdb
import gdb.unwinder

from ...domain.address_space import USER_END
from ...domain.arch import X86_64
from ...domain.kernel.errors import KdumpError
from ...domain.kernel.memory import Memory
from ...domain.kernel.orc import HEADER, Orc
from .elf_file import linked_at
from .frame_info import FrameId
from .target import UNWIND_IMAGE, read_target


class InterruptStacks(gdb.unwinder.Unwinder):  # type: ignore[misc]
    """Unwinds functions that go on on their CPU's interrupt stack.

    They change stacks in inline assembly, which the compiler's unwind data is not told, so gdb
    looks for the rest of the frame above the interrupt stack. The topmost word of that stack,
    the last one in its page, has the stack pointer of before: call_on_stack() in
    arch/x86/include/asm/irq_stack.h, since 5.12.

    gdb ends a backtrace where a frame's id has a lower stack address than the frame before it,
    and the interrupt stack may lie above the other one. So the frame has the id of a frame on
    the interrupt stack, and so has the entry code that called it, which is why that is unwound
    here, too. Behind it comes the server's return_from_interrupt, which to gdb is a signal
    handler's frame, and the stack of that may be anywhere.

    gdb asks this about each and every frame, hence the early ways out. What must not be done here
    is to make gdb look at the selected frame, which may be beyond the very frame that it is about
    to unwind: gdb aborts. It does so for any expression, and for the value of a symbol whose type
    may depend on something, such as an array's without length.
    """

    # The server's image of unwind data for entry code begins with an instruction that gdb takes for
    # a call, and IRET. A return to privilege level N is to N * 16 bytes after that.
    IMAGE_CODE = UNWIND_IMAGE + 0x80
    CODE = b"\x90\x48\xcf"
    # struct pt_regs, and where in it is what the CPU saved (arch/x86/include/asm/ptrace.h)
    SAVED = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi".split()
    IP, CS, WORDS = 16, 17, 18

    def __init__(self) -> None:
        super().__init__("kdump-interrupt-stacks")
        # The entry code that called on an interrupt stack: {its rsp: (its pc, that stack's end)}
        self.entries: Dict[int, Tuple[int, int]] = {}
        self.linked: Dict[str, Dict[str, int]] = {}  # by file

    def __call__(self, frame: Any) -> Any:
        try:
            if frame.architecture().name() != X86_64.gdb_name:
                return None
            sp = self._register(frame, "rsp")
            if sp in self.entries:
                return self._unwind_entry(frame, sp)
            if sp & 0xFFF != 0xFF8 or sp < USER_END:
                return None
            return self._unwind(frame, sp)
        except (gdb.error, KdumpError):
            return None  # let gdb do what it can

    def _unwind(self, frame: Any, sp: int) -> Any:
        memory = Memory(read_target)
        if memory.integer(sp, 8) < USER_END:
            return None
        orc = self._orc(memory)
        if orc is None:
            return None
        found = orc.caller(self._register(frame, "rip"), sp, self._known(frame, "rbp"))
        if found is None:
            return None
        self.entries[found["rsp"]] = (found["rip"], sp)
        return self._info(frame, sp, found)

    def _unwind_entry(self, frame: Any, sp: int) -> Any:
        pc, mark = self.entries[sp]
        if self._register(frame, "rip") != pc:
            return None
        memory = Memory(read_target)
        orc = self._orc(memory)
        if orc is None:
            return None
        offset = orc.saved(pc)
        if offset is None:
            return self._unwind_between(frame, orc)
        if memory.fetch(self.IMAGE_CODE, len(self.CODE)) != self.CODE:
            return None
        words = memory.words(sp + offset, self.WORDS)
        found = {name: words[number] for number, name in enumerate(self.SAVED)}
        found["rsp"] = sp + offset + 8 * self.IP
        found["rip"] = self.IMAGE_CODE + 1 + 16 * (words[self.CS] & 3)
        return self._info(frame, mark, found)

    def _unwind_between(self, frame: Any, orc: Orc) -> Any:
        """Unwind a function between the entry code and the one that changed stacks.

        Only where gdb would not, as its stack is lower: the values of its caller's registers
        that it saved are not known here.
        """
        sp = self._register(frame, "rsp")
        pc, mark = self.entries[sp]
        found = orc.plain_caller(pc, sp, self._known(frame, "rbp"))
        if found is None or found["rsp"] > mark:
            return None
        self.entries[found["rsp"]] = (found["rip"], mark)
        return self._info(frame, mark, found)

    def _known(self, frame: Any, name: str) -> Optional[int]:
        try:
            return self._register(frame, name)
        except gdb.error:
            return None

    @staticmethod
    def _register(frame: Any, name: str) -> int:
        return int(frame.read_register(name)) % 2**64

    @staticmethod
    def _info(frame: Any, mark: int, registers: Dict[str, int]) -> Any:
        """What the Unwinder is to return: the frame's id, and the caller's registers."""

        def value(name: str, number: int) -> Any:
            return gdb.Value(number).cast(frame.read_register(name).type)

        info = frame.create_unwind_info(FrameId(value("rsp", mark), frame.read_register("rip")))
        for name, number in registers.items():
            info.add_saved_register(name, value(name, number))
        return info

    def _orc(self, memory: Memory) -> Optional[Orc]:
        """The tables, which are as far from a function as in vmlinux, or None."""
        function = gdb.lookup_global_symbol(Orc.FUNCTION)
        if function is None or function.symtab is None:
            return None
        name = function.symtab.objfile.filename
        if name not in self.linked:
            wanted = (Orc.FUNCTION,) + Orc.NAMES + Orc.ENTRY_TEXT + HEADER
            self.linked[name] = linked_at(name, wanted)
        linked = self.linked[name]
        if not set(Orc.NAMES + (Orc.FUNCTION,)) <= set(linked):
            return None
        moved = int(function.value().address) - linked[Orc.FUNCTION]
        return Orc(memory, {key: (at + moved) % 2**64 for key, at in linked.items()})
