"""Backtraces through arm64 frames that gdb does not unwind by itself."""

from typing import Any, Dict, Iterator

import gdb
import gdb.FrameDecorator
import gdb.unwinder

from ...domain.address_space import USER_END
from ...domain.arch import AARCH64
from ...domain.kernel.errors import KdumpError
from ...domain.kernel.memory import Memory
from .frame_info import FrameId
from .target import read_target

MASK = "pauth_cmask"
# Where the server shows gdb unwind data for the kernel's entry code, if it shows the kernel.
UNWIND_IMAGE = 0xFFFFFFFFFFE00000


def register(frame: Any, name: str, unknown: int = 0) -> int:
    """Return a register of a frame, or `unknown` where it has none of that name."""
    try:
        return int(frame.read_register(name)) % 2**64
    except (gdb.error, ValueError):
        return unknown


class Arm64Frames(gdb.unwinder.Unwinder):  # type: ignore[misc]
    """Unwinds what gdb takes for code that is not there.

    A return address that is signed (pointer authentication) has a code in its upper bits, and
    gdb before 14 clears these, while they are set in the kernel's addresses. To the address that
    comes of it there is a frame here, whose caller is the code that was meant: all else stays.

    The code that started the kernel is gone, and gdb takes a function whose code it cannot
    read for a stub without a frame. It has a frame record like all others: x29 points to the
    caller's x29 and the return address; the first one has zeros.

    The stack of a CPU that was in a user program ends there. gdb cannot read that code either, and
    takes x30 for a caller again and again.
    """

    def __init__(self) -> None:
        super().__init__("kdump-arm64-frames")

    def __call__(self, frame: Any) -> Any:
        try:
            if frame.architecture().name() != AARCH64.gdb_name:
                return None
            pc, sp = register(frame, "pc"), register(frame, "sp")
            if sp < USER_END or not pc:
                return self._program(frame, pc)
            mask = register(frame, MASK)
            if mask and not pc & mask:
                return self._signed(frame, pc | mask)
            if pc >= USER_END:
                return self._unreadable(frame, pc, mask)
        except (gdb.error, KdumpError):
            pass
        return None  # let gdb do what it can

    def _program(self, frame: Any, pc: int) -> Any:
        # Without a cpsr nothing says that it was a program (1: the kernel's).
        if not 0 < pc < USER_END or register(frame, "cpsr", 1) & 0xF:  # the exception level
            return None
        if Memory(read_target).fetch(UNWIND_IMAGE, 4) != b"\x7fELF":
            return None
        values = {name: self._value(frame, name, 0) for name in ("x29", "x30", "pc")}
        values["sp"] = frame.read_register("sp")
        return self._info(frame, values)

    def _signed(self, frame: Any, pc: int) -> Any:
        names = ["x%d" % number for number in range(31)] + ["sp", "cpsr", MASK, "pauth_dmask"]
        values = {}
        for name in names:
            try:
                values[name] = frame.read_register(name)
                int(values[name])
            except (gdb.error, ValueError):
                values.pop(name, None)  # not known
        values["pc"] = self._value(frame, "pc", pc)
        return self._info(frame, values)

    def _unreadable(self, frame: Any, pc: int, mask: int) -> Any:
        memory = Memory(read_target)
        try:
            memory.fetch(pc, 4)
            return None
        except KdumpError:
            pass
        older, link = memory.words(register(frame, "x29"), 2)
        caller = {"x29": older, "x30": link, "pc": link | mask if link else 0}
        values = {name: self._value(frame, name, value) for name, value in caller.items()}
        values["sp"] = frame.read_register("sp")
        if mask:
            values[MASK] = frame.read_register(MASK)
        return self._info(frame, values)

    @staticmethod
    def _value(frame: Any, name: str, number: int) -> Any:
        return gdb.Value(number).cast(frame.read_register(name).type)

    @staticmethod
    def _info(frame: Any, values: Dict[str, Any]) -> Any:
        found = frame.create_unwind_info(
            FrameId(frame.read_register("sp"), frame.read_register("pc"))
        )
        for name, value in values.items():
            found.add_saved_register(name, value)
        return found


class MeantFrames:
    """Leaves out of backtraces what is no code: a frame filter.

    These are the frames of signed return addresses, and what comes before the kernel's first
    function. Other architectures' backtraces are left to gdb.
    """

    MOST = 1000

    def __init__(self) -> None:
        self.name = "kdump-arm64-frames"
        self.priority = 100
        self.wanted = True
        gdb.frame_filters[self.name] = self

    @property
    def enabled(self) -> bool:
        """Whether gdb is to ask for the frames: gdb's own printing is better than for a filter."""
        try:
            frame = gdb.newest_frame()
            if not self.wanted or frame.architecture().name() != AARCH64.gdb_name:
                return False
            for _ in range(self.MOST):
                if frame is None or not is_code(frame):
                    break
                frame = frame.older()
            return frame is not None
        except gdb.error:
            return False  # a task that is dead has no registers

    @enabled.setter
    def enabled(self, wanted: bool) -> None:
        self.wanted = wanted

    @staticmethod
    def filter(frames: Iterator[Any]) -> Iterator[Any]:
        """Yield all other frames."""
        return (Shown(each) for each in frames if is_code(each.inferior_frame()))


class Shown(gdb.FrameDecorator.FrameDecorator):  # type: ignore[misc]
    """A frame of which gdb prints also an argument that cannot be read."""

    def frame_args(self) -> Any:
        """Return the arguments; of one that cannot be read its value is what the matter is."""
        arguments = super().frame_args()
        return arguments and [readable(each, self.inferior_frame()) for each in arguments]


def readable(argument: Any, frame: Any) -> Any:
    """Return an argument as it is, or with words for its value."""
    try:
        argument.symbol().value(frame).fetch_lazy()
    except gdb.MemoryError as error:
        return gdb.FrameDecorator.SymValueWrapper(str(argument.symbol()), "<error: %s>" % error)
    except gdb.error:
        pass  # gdb has words for it
    return argument


def is_code(frame: Any) -> bool:
    """Whether a frame's pc is what was meant by the return address."""
    pc, mask = frame.pc(), register(frame, MASK)
    if not pc:
        return frame.newer() is None
    if not mask or pc & mask:
        return True
    older = frame.older()
    return older is None or bool(older.pc() != pc | mask)
