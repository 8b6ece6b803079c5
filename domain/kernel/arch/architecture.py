"""What is asked of an architecture; each one's answers are in the module of its name."""

from typing import Any, Dict, Optional, Tuple

from ..symbols import Symbols
from ..tasks import Task
from .page_tables import PageTables


class Architecture:
    """What has to be known of an architecture; the defaults fit more than one."""

    name = ""  # as uname -m has it
    gdb_name = ""
    saved: Dict[str, str] = {}  # members of task_struct that switch_registers() needs
    user_frame: Dict[
        str, str
    ] = {}  # members of struct pt_regs: gdb's registers, an array's without number
    stack_padding: Tuple[int, ...] = (0,)  # bytes that may be between pt_regs and stack end
    stack_align = 1  # the size of pt_regs is rounded up to a multiple of it
    user_thread: Dict[str, str] = {}  # members of task_struct with more of the user's state
    # What of the user's registers the CPU still holds while it runs the kernel.
    kept_in_kernel: Tuple[str, ...] = ()
    narrow: Dict[str, int] = {}  # bits of the registers that are not as wide as their place

    def __init__(self, kernel: Symbols) -> None:
        self.kernel = kernel
        self.memory = kernel.memory

    @staticmethod
    def clean(address: int) -> int:
        """An address as a pointer holds it, without what is not part of the address."""
        return address

    def switch_registers(self, task: Task) -> Dict[str, int]:
        """What the scheduler saved of a task's registers when it switched to another."""
        raise NotImplementedError

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """Whether these members of pt_regs are registers of user mode."""
        raise NotImplementedError

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """Whether a CPU with these registers was in user mode."""
        raise NotImplementedError

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        """Whether a thread with these registers runs 32-bit code."""
        return False

    def compat_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Those that 32-bit code has, by the names the kernel keeps them under."""
        return registers

    def compat_fp_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """The same of the floating-point registers."""
        return registers

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        """The user's registers among the values of `user_thread`."""
        return {}

    def fault_address(self, thread: Dict[str, Any]) -> Optional[int]:
        """The address of the last page fault that became a signal, if known."""
        return None

    def page_tables(self, pgd: int) -> Optional[PageTables]:
        """How to walk a process's page tables; None if the dump does not tell."""
        return None

    def fp_registers(self, task: Task) -> Dict[str, int]:
        """Floating-point and vector registers of a task that is not running."""
        return {}
