"""What the kernel keeps of a task, by architecture: its registers and its page tables."""

from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Tuple

from .paging import TableForm

if TYPE_CHECKING:
    # For the annotation alone: domain/kernel is built on this package.
    from ..kernel.symbols import Symbols


class UserTables(NamedTuple):
    """The form of a process's page tables, and where the kernel maps all memory.

    `direct` is what to add to a physical address to get the kernel's.
    """

    form: TableForm
    direct: int


class TaskState:
    """What an architecture's kernel keeps of a task; the defaults fit more than one.

    `saved` are the members of task_struct that `switch_registers` needs, by names that begin with
    "saved."; `user_thread` are those with more of the user's state. `user_frame` are the members
    of struct pt_regs and gdb's names of them, an array's without the number. pt_regs ends one of
    `stack_padding` bytes before the end of the stack, its size rounded up to a multiple of
    `stack_align`. `kept_in_kernel` are user registers that a CPU still holds while it runs the
    kernel. `narrow` has the number of bits of those registers that are not as wide as their place.

    Facts about the kernel are from its source; file names in comments are paths in it.
    """

    saved: Dict[str, str] = {}
    user_frame: Dict[str, str] = {}
    stack_padding: Tuple[int, ...] = (0,)
    stack_align = 1
    user_thread: Dict[str, str] = {}
    kept_in_kernel: Tuple[str, ...] = ()
    narrow: Dict[str, int] = {}

    def __init__(self, kernel: "Symbols") -> None:
        self.kernel = kernel
        self.memory = kernel.memory

    def switch_registers(self, task: Mapping[str, Any]) -> Dict[str, int]:
        """Return what the scheduler saved of a task's registers when it switched to another.

        `task` has the values of members of its task_struct, those in `saved` among them.
        """
        raise NotImplementedError

    def is_user_frame(self, values: Mapping[str, Any]) -> bool:
        """Whether these members of pt_regs are registers of user mode."""
        raise NotImplementedError

    def is_compat(self, registers: Mapping[str, int], auxv_is_32: bool) -> bool:
        """Whether a thread with these registers runs 32-bit code."""
        return False

    def compat_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Return those that 32-bit code has, by the names that the kernel keeps them under."""
        return registers

    def compat_fp_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Return the same of the floating-point registers."""
        return registers

    def thread_registers(self, thread: Mapping[str, Any]) -> Dict[str, int]:
        """Return the user's registers among the values of `user_thread`."""
        return {}

    def fault_address(self, thread: Mapping[str, Any]) -> Optional[int]:
        """Return the address of the last page fault that became a signal, if known."""
        return None

    def user_tables(self, pgd: int) -> Optional[UserTables]:
        """Return how to walk the page tables of the process whose mm->pgd is given.

        None if the dump does not tell.
        """
        return None

    def fp_registers(self, task: int) -> Dict[str, int]:
        """Return floating-point and vector registers of a task that is not running.

        `task` is the address of its task_struct.
        """
        return {}
