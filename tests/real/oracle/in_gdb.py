"""Run inside gdb: writes chains and globals, as `gdb_side.py` asks for them, to a JSON file."""

import json
import pathlib

import gdb

_MOST = 100
# gdb reasons a tail call's frame out; the server's return_from_interrupt is to gdb a signal's.
_NOT_ON_STACK = (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME, gdb.SIGTRAMP_FRAME)


def _chain():
    """[pc, function, is it inlined] of the selected thread's frames, and why they end."""
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and len(frames) < _MOST:
        if frame.type() not in _NOT_ON_STACK:
            frames.append([frame.pc(), frame.name()])
        last = frame
        frame = frame.older()
    reason = last.unwind_stop_reason()
    # Reasons from the first error on are those at which gdb says "corrupt stack?".
    corrupt = reason >= gdb.FRAME_UNWIND_UNAVAILABLE
    return {"frames": frames, "corrupt": gdb.frame_stop_reason_string(reason) if corrupt else None}


def _all_chains():
    told = {}
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        try:
            told[str(thread.ptid[1])] = _chain()
        except gdb.error as error:
            told[str(thread.ptid[1])] = {"frames": [], "corrupt": str(error)}
    return told


def _globals(names):
    told = {}
    memory = gdb.selected_inferior()
    for name, size in names.items():
        try:
            address = int(gdb.parse_and_eval("(unsigned long)&" + name))
            told[name] = [address, bytes(memory.read_memory(address, size)).hex()]
        except gdb.error as error:
            told[name] = [None, str(error)]
    return told


def write(asked, answer):
    """Answer the JSON file `asked` in the file `answer`."""
    wanted = json.loads(pathlib.Path(asked).read_text())
    told = {
        "chains": _all_chains() if wanted["chains"] else {},
        "globals": _globals(wanted["globals"]),
    }
    pathlib.Path(answer).write_text(json.dumps(told))
