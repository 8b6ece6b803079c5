"""How code without call frame information of its own is left: what an architecture knows of it."""

from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple

from ..address_space import AddressSpace
from ..vmcoreinfo import Vmcoreinfo


class FrameRule(NamedTuple):
    """What a debugger has to know to go from a frame to its caller's; registers by gdb's names.

    The frame's address (CFA) is `offset` bytes above what the register `base` has. `saved` are
    the caller's registers that lie in memory, each with its offset from the CFA; `moved` those
    that are another register plus a number of bytes; `lost` those that nobody knows. `caller` is
    the caller's pc where that is always the same, `caller_by` a DWARF expression for it; without
    them `return_register` has it. `interrupted` says that the caller made no call: its pc is
    that of the next instruction. With `outermost` there is no caller.
    """

    base: str = ""
    offset: int = 0
    saved: Tuple[Tuple[str, int], ...] = ()
    moved: Tuple[Tuple[str, str, int], ...] = ()
    lost: Tuple[str, ...] = ()
    caller: Optional[int] = None
    caller_by: bytes = b""
    return_register: str = ""
    interrupted: bool = False
    outermost: bool = False


class FrameRange(NamedTuple):
    """The rule for code addresses from `start` to before `end`.

    `name` is for those that no symbol file has a name for.
    """

    start: int
    end: int
    rule: FrameRule
    name: str = ""


class KernelCode(NamedTuple):
    """What there is to find the kernel's code by.

    `symbols` are the run-time addresses of the names that were asked for; `next_symbol` returns
    the first address above one that has a symbol, None when that is not known.
    """

    memory: AddressSpace
    symbols: Mapping[str, int]
    next_symbol: Callable[[int], Optional[int]]
    vmcoreinfo: Vmcoreinfo


class EntryCode(NamedTuple):
    """The kernel's entry code: names to look up, and what makes ranges of their addresses.

    The ranges are in order and do not overlap. What cannot be proved has none.
    """

    names: Tuple[str, ...]
    ranges: Callable[[KernelCode], Any]
