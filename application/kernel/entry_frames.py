"""Call frame information for entry code, where the architecture declares how it is left."""

from __future__ import annotations

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.domain.address_space import USER_END
from kdump_gdbserver.domain.arch.frames import FrameRange, FrameRule, KernelCode
from kdump_gdbserver.domain.arch.model import Arch

_USER_MODE = "user_mode"  # what debuggers are to call the frame of a user program


def entry_frames_image(survey: KernelSurvey, base: int) -> bytes | None:
    """Return an ELF image for address `base` by which debuggers unwind the entry code.

    None where the architecture declares nothing, or the dump has none of that code.
    """
    dump = survey.dump_memory.dump
    entry = dump.facts.arch.entry_code
    if entry is None:
        return None
    from kdump_gdbserver.domain.symbols.frame_image import frame_image

    symbols = survey.symbols
    ranges = entry.ranges(
        KernelCode(
            survey.memory, symbols.symbols(entry.names), symbols.next_symbol, dump.vmcoreinfo
        )
    )
    arch = dump.facts.arch
    ranges += [
        FrameRange(pc, pc + 1, FrameRule(outermost=True), _USER_MODE)
        for pc in sorted({cpu.registers[arch.pc] for cpu in survey.cpus if _is_program(cpu, arch)})
    ]
    return frame_image(ranges, arch, base) if ranges else None


def _is_program(cpu: Cpu, arch: Arch) -> bool:
    """Whether a CPU was in a user program, whose stack ends there."""
    return arch.is_user_mode(cpu.registers) and 0 < cpu.registers[arch.pc] < USER_END
