"""Run in gdb: write every thread's frames as JSON to the file that $KDUMP_FRAMES names."""

import json
import os
from pathlib import Path
from typing import Any

import gdb

# What is no frame of its own on the stack.
WITHOUT_STACK = (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME)


def walk() -> dict[str, Any]:
    """The selected thread's frames, innermost first, and why there are no more."""
    found: list[Any] = []
    try:
        frame = gdb.newest_frame()
        while frame is not None:
            last = frame
            registers = [int(frame.read_register(name)) % 2**64 for name in ("pc", "sp")]
            found.append([frame.name(), *registers, frame.type() in WITHOUT_STACK])
            frame = frame.older()
        return {"frames": found, "end": gdb.frame_stop_reason_string(last.unwind_stop_reason())}
    except gdb.error as error:
        return {"frames": found, "end": str(error)}


def walk_all() -> dict[int, Any]:
    """By the thread's number."""
    chains = {}
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        chains[thread.ptid[1]] = walk()
    return chains


Path(os.environ["KDUMP_FRAMES"]).write_text(json.dumps(walk_all()))
