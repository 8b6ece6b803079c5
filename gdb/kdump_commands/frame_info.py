"""What an unwinder tells gdb of a frame."""

from typing import Any


class FrameId:
    """What tells a frame from all others, for gdb."""

    def __init__(self, sp: Any, pc: Any) -> None:
        self.sp = sp
        self.pc = pc
