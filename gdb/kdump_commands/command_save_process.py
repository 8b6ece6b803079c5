"""kdump-save-process-json: one process as a file for `-j`."""

from typing import List

import gdb

from ...domain.kernel.errors import KdumpError
from ...domain.kernel.process.process import Process
from .command import Command, report, take_snapshot
from .cpu_registers import cpu_registers
from .sidecar_file import json_text, write_whole


class SaveProcessJson(Command):
    """Save one user process of the dump to FILE.

    Usage: kdump-save-process-json FILE PID

    Restart the server with the file, and gdb shows the process as from a core file:
        kdump-gdbserver -f VMCORE -j FILE
    PID may be that of any of the process's threads; kdump-kernel-ps lists them.
    FILE is replaced if it exists, but only once all is written."""

    def __init__(self) -> None:
        super().__init__("kdump-save-process-json", gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME)

    def run(self, words: List[str]) -> None:
        if len(words) != 2:
            raise KdumpError("usage: kdump-save-process-json FILE PID")
        if not words[1].isdigit():
            raise KdumpError(
                "PID must be a decimal number, not '%s': kdump-kernel-ps lists them" % words[1]
            )
        process = Process(take_snapshot(), int(words[1]), cpu_registers)
        content = process.sidecar()
        write_whole(words[0], json_text(content))
        report(content["errors"])
        gdb.write(
            "process %d (%s), %d thread(s) written to %s\n"
            % (process.pid, content["comm"], len(content["threads"]), words[0])
        )
