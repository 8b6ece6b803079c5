"""Which packet is answered by which handler.

Packets whose names are words (`q...`, `Q...`, `v...`) are found by that word, all
others by their first letter. A packet that is in no table gets the empty reply.
"""

from __future__ import annotations

from collections.abc import Callable

from kdump_gdbserver.adapters.rsp_tcp import (
    handlers_files,
    handlers_general,
    handlers_memory,
    handlers_objects,
    handlers_registers,
    handlers_symbols,
    handlers_threads,
)
from kdump_gdbserver.adapters.rsp_tcp.client import Client

# A handler takes the client and what follows the packet's name, and returns the
# reply, escaped already, or None for no reply at all.
Handler = Callable[[Client, bytes], bytes | None]

BY_LETTER: dict[int, Handler] = {
    ord(letter): handler
    for letter, handler in {
        "?": handlers_threads.stop_reason,
        "g": handlers_registers.read_all,
        "p": handlers_registers.read_one,
        "G": handlers_registers.refuse_write,
        "P": handlers_registers.refuse_write,
        "m": handlers_memory.read_memory,
        "M": handlers_memory.refuse_write,
        "X": handlers_memory.refuse_write,
        "H": handlers_threads.select,
        "T": handlers_threads.is_alive,
        "D": handlers_general.detach,
        "k": handlers_general.kill,
        "c": handlers_general.refuse_to_run,
        "C": handlers_general.refuse_to_run,
        "s": handlers_general.refuse_to_run,
        "S": handlers_general.refuse_to_run,
        "Z": handlers_general.refuse_breakpoint,
        "z": handlers_general.refuse_breakpoint,
    }.items()
}

BY_WORD: dict[bytes, Handler] = {
    b"qSupported": handlers_general.supported,
    b"QStartNoAckMode": handlers_general.start_no_ack_mode,
    b"qAttached": handlers_general.attached,
    b"qOffsets": handlers_general.offsets,
    b"qSymbol": handlers_symbols.symbol_offered,
    b"qC": handlers_threads.current,
    b"qfThreadInfo": handlers_threads.list_first,
    b"qsThreadInfo": handlers_threads.list_next,
    b"qGetTLSAddr": handlers_symbols.thread_local_address,
    b"qThreadExtraInfo": handlers_threads.extra_info,
    b"qXfer": handlers_objects.read_object,
    b"vCont?": handlers_general.unsupported,
    b"vCont": handlers_general.refuse_to_run,
    b"vFile": handlers_files.file_request,
    b"vKill": handlers_general.kill_process,
    b"vMustReplyEmpty": handlers_general.unsupported,
}

_WORD_INITIALS = frozenset(b"qQv")
_SEPARATORS = bytes.maketrans(b":,;", b";;;")


def find_handler(payload: bytes) -> tuple[Handler, bytes]:
    """Return the handler of a packet and the arguments to give it."""
    initial = payload[0] if payload else 0
    if initial in _WORD_INITIALS:
        # Names are short; only their stretch of the packet is searched.
        end = payload[:32].translate(_SEPARATORS).find(b";")
        word, arguments = (payload, b"") if end < 0 else (payload[:end], payload[end + 1 :])
        return BY_WORD.get(word, handlers_general.unsupported), arguments
    return BY_LETTER.get(initial, handlers_general.unsupported), payload[1:]
