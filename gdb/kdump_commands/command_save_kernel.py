"""kdump-save-kernel-json: the tasks as a file for `-k`."""

from typing import List

import gdb

from ...domain.kernel.errors import KdumpError
from .command import Command, report, take_snapshot
from .sidecar_file import json_text, write_whole


class SaveKernelJson(Command):
    """Save the kernel's tasks and their registers to FILE.

    Usage: kdump-save-kernel-json FILE

    Restart the server with the file, and gdb shows every task as a thread:
        kdump-gdbserver -f VMCORE -k FILE
    FILE is replaced if it exists, but only once all is written."""

    def __init__(self) -> None:
        super().__init__("kdump-save-kernel-json", gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME)

    def run(self, words: List[str]) -> None:
        if len(words) != 1:
            raise KdumpError("usage: kdump-save-kernel-json FILE")
        snapshot = take_snapshot()
        write_whole(words[0], json_text(snapshot.sidecar()))
        report(snapshot.problems)
        gdb.write("%d tasks written to %s\n" % (len(snapshot.tasks), words[0]))
