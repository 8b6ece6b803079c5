"""What gdb gets of all this: the commands, and the unwinders."""

import gdb.unwinder

from .arm64_frames import Arm64Frames, MeantFrames
from .command_kernel_ps import KernelPs
from .command_save_kernel import SaveKernelJson
from .command_save_process import SaveProcessJson
from .command_symbol_file import SymbolFile
from .interrupt_stacks import InterruptStacks


def register() -> None:
    """Give them to gdb, in the place of those that were registered earlier."""
    KernelPs()
    SaveKernelJson()
    SaveProcessJson()
    SymbolFile()
    gdb.unwinder.register_unwinder(None, InterruptStacks(), replace=True)
    gdb.unwinder.register_unwinder(None, Arm64Frames(), replace=True)
    MeantFrames()
