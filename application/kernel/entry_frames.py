"""Call frame information for entry code, where the architecture declares how it is left."""

from __future__ import annotations

from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.domain.arch.frames import KernelCode


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
    return frame_image(ranges, dump.facts.arch, base) if ranges else None
