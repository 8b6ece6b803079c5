"""A thread's registers as its own program sees them."""

from typing import Any, Callable, Dict, List, Optional, Tuple

from ..errors import KdumpError
from ..kernel import Kernel
from ..memory import Layout
from ..tasks import Task


class UserRegisters:
    """Finds the user registers of threads: in their CPU, on their stack, in thread_struct.

    `cpu_registers(task)` are the registers that the task's CPU had at the crash, by gdb's
    names, {} where they are not known.
    """

    def __init__(
        self,
        kernel: Kernel,
        problems: List[str],
        cpu_registers: Callable[[Task], Dict[str, int]],
    ) -> None:
        self.kernel = kernel
        self.cpu_registers = cpu_registers
        self.arch = kernel.arch
        self.state = kernel.task_state
        self.problems = problems
        self.frame_layout = kernel.layout("struct pt_regs", self.state.user_frame)
        self.thread_layout = self._thread_layout()
        self.stack_size = kernel.stack_size()

    def _thread_layout(self) -> Optional[Layout]:
        """Those of the architecture's members that this kernel has; None if it has none."""
        task, wanted = "struct task_struct", self.state.user_thread.items()
        there = {name: path for name, path in wanted if self.kernel.member(task, path)}
        return self.kernel.layout(task, (), (), there) if there else None

    def of(
        self, task: Task, mappings: List[Dict[str, Any]]
    ) -> Tuple[Dict[str, int], Optional[bool]]:
        """(the user registers, whether its CPU was in user mode or None).

        On entry the kernel puts them at the end of the thread's kernel stack. A thread that was in
        user mode at the crash has only leftovers there, and its own are those of its CPU.
        """
        on_cpu = self.cpu_registers(task)
        if on_cpu and self.arch.is_user_mode(on_cpu) and self._is_code(on_cpu, mappings):
            return on_cpu, True
        try:
            registers = self._saved(task)
        except KdumpError as error:
            self.problems.append("user registers of pid %d: %s" % (task.pid, error))
            return {}, None
        if task.cpu is None:
            return registers, None
        for name in self.state.thread_registers(self.thread_values(task)):
            registers.pop(name)  # of its last sleep, which may be long ago
        for name in self.state.kept_in_kernel:
            if name in on_cpu:
                registers[name] = on_cpu[name]
        return registers, False if on_cpu else None

    def floating_point(self, task: Task) -> Dict[str, int]:
        """Those the kernel saved; a running task's are in the CPU, and no dump has them."""
        if task.cpu is not None or not task.stack:
            return {}
        try:
            return self.state.fp_registers(task.address)
        except KdumpError as error:
            self.problems.append("floating-point registers of pid %d: %s" % (task.pid, error))
            return {}

    def thread_values(self, task: Task) -> Dict[str, Any]:
        """The members of the thread's task_struct that the architecture asks for."""
        layout = self.thread_layout
        return layout.read(self.kernel.memory, task.address) if layout else {}

    def _is_code(self, registers: Dict[str, int], mappings: List[Dict[str, Any]]) -> bool:
        pc = registers.get(self.arch.pc, -1)  # absent where the CPU's note is cut
        return any(vma["start"] <= pc < vma["end"] and "x" in vma["perms"] for vma in mappings)

    def _saved(self, task: Task) -> Dict[str, int]:
        """The user registers on the kernel stack, and in thread_struct."""
        if not task.stack:
            raise KdumpError("its kernel stack is gone")
        layout = self.frame_layout
        align = self.state.stack_align
        top = task.stack + self.stack_size - (layout.size + align - 1) // align * align
        for padding in self.state.stack_padding:
            values = layout.read(self.kernel.memory, top - padding)
            if self.state.is_user_frame(values):
                break
        else:
            raise KdumpError("there are none (it never was in user mode, or its stack is damaged)")
        registers = {}
        for member, name in self.state.user_frame.items():
            if isinstance(values[member], bytes):  # an array, as aarch64's of x0 to x30
                for number, value in enumerate(self.kernel.memory.split(values[member])):
                    registers["%s%d" % (name, number)] = value
            else:
                registers[name] = values[member]
        registers.update(self.state.thread_registers(self.thread_values(task)))
        for name, bits in self.state.narrow.items():
            if name in registers:
                registers[name] &= (1 << bits) - 1
        return registers
