"""Run inside gdb: writes chains and globals, as `gdb_side.py` asks for them, to a JSON file."""

import json
import pathlib

import gdb

_MOST = 100
# gdb reasons a tail call's frame out; the server's return_from_interrupt is to gdb a signal's.
_NOT_ON_STACK = (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME, gdb.SIGTRAMP_FRAME)
# Where gdb says "corrupt stack?", and where it cannot read the stack. That a frame did not save
# its pc is an end like another, if the chain is whole up to there.
_CORRUPT = (
    gdb.FRAME_UNWIND_INNER_ID,
    gdb.FRAME_UNWIND_SAME_ID,
    gdb.FRAME_UNWIND_MEMORY_ERROR,
    gdb.FRAME_UNWIND_UNAVAILABLE,
)


def _is_twin(frame, outer):
    """Whether a frame stands for the address of the next, whose upper bits gdb has cleared.

    So it is on arm64 in gdb before 14 (pointer authentication); our script hides such frames,
    and without it the server has a name for them.
    """
    if outer is None or frame.name() not in (None, "signed_return_address"):
        return False
    pc, other = frame.pc(), outer.pc()
    return other >> 63 == 1 and not pc >> 63 and (pc ^ other) % (1 << 39) == 0


def _is_half(frame, outer):
    """Whether this and the next are one frame of the kernel's, in two since it changed stacks.

    gdb lets only a signal's frame lie below the one before it.
    """
    if outer is None or frame.type() != gdb.SIGTRAMP_FRAME or not frame.pc() >> 63:
        return False
    return frame.name() is not None and frame.name() == outer.name()


def _chain():
    """[pc, function] of the selected thread's frames but inlined ones, and why they end."""
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and len(frames) < _MOST:
        try:
            outer = frame.older()
        except gdb.error as error:
            if str(error) != "PC not saved":  # how some architectures tell the stack's end
                raise
            outer = None
        if outer is not None and not outer.pc():
            outer = None  # from pc 0 gdb goes no further, and says nothing
        if _is_half(frame, outer):
            frames.append([frame.pc(), frame.name()])
            outer = outer.older()
        elif frame.type() not in _NOT_ON_STACK and not _is_twin(frame, outer):
            frames.append([frame.pc(), frame.name()])
        last, frame = frame, outer
    reason = last.unwind_stop_reason()
    corrupt = gdb.frame_stop_reason_string(reason) if reason in _CORRUPT else None
    return {"frames": frames, "corrupt": corrupt}


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
