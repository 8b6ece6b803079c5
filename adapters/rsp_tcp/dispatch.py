"""Which packet is answered by which handler.

Packets whose names are words (`q...`, `Q...`, `v...`, `j...`) are found by that word, all
others by their first letter. A packet that is in no table gets the empty reply, and so
do those that are in one to say that they are known and not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kdump_gdbserver.adapters.rsp_tcp import (
    handlers_binary,
    handlers_files,
    handlers_general,
    handlers_lldb,
    handlers_memory,
    handlers_modes,
    handlers_monitor,
    handlers_objects,
    handlers_registers,
    handlers_search,
    handlers_symbols,
    handlers_threads,
)
from kdump_gdbserver.adapters.rsp_tcp.client import Client

# A handler takes the client and what follows the packet's name, and returns the
# reply, escaped already, several of them one by one, or None for no reply at all.
Handler = Callable[[Client, bytes], bytes | Iterator[bytes] | None]

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
        "x": handlers_binary.read_binary,
        "!": handlers_modes.extended_mode,
        "D": handlers_modes.detach,
        "k": handlers_modes.kill,
        "R": handlers_modes.restart,
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
    b"qSearch": handlers_search.search,
    b"qCRC": handlers_search.checksum_of_memory,
    b"qRcmd": handlers_monitor.run_command,
    b"Qqemu.PhyMemMode": handlers_modes.set_physical,
    b"qqemu.PhyMemMode": handlers_modes.is_physical,
    b"qqemu.Supported": handlers_modes.extensions,
    b"vCont": handlers_general.refuse_to_run,
    b"vFile": handlers_files.file_request,
    b"vKill": handlers_modes.kill_process,
    b"vAttach": handlers_modes.attach,
    b"vRun": handlers_modes.refuse_to_start,
    # LLDB's own
    b"QThreadSuffixSupported": handlers_lldb.thread_suffix,
    b"QListThreadsInStopReply": handlers_lldb.threads_in_stop_reply,
    b"QEnableErrorStrings": handlers_lldb.error_strings,
    b"qHostInfo": handlers_lldb.host_info,
    b"qProcessInfo": handlers_lldb.process_info,
    b"qMemoryRegionInfo": handlers_lldb.memory_region,
    b"qThreadStopInfo": handlers_lldb.thread_stop_info,
    b"jThreadsInfo": handlers_lldb.threads_info,
    b"qRegisterInfo": handlers_lldb.register_info,
    b"qGetWorkingDir": handlers_lldb.working_directory,
    b"qGDBServerVersion": handlers_lldb.server_version,
    # Known, and not supported: nothing runs, and there are no tracepoints.
    **dict.fromkeys(
        (
            b"vCont?",
            b"vMustReplyEmpty",
            b"qTStatus",
            b"qExecAndArgs",
            b"QThreadEvents",
            b"QPassSignals",
            b"QProgramSignals",
            b"QNonStop",
            b"QCatchSyscalls",
            b"qVAttachOrWaitSupported",
            b"qStructuredDataPlugins",
            b"jThreadExtendedInfo",
            b"qModuleInfo",
            b"jModulesInfo",
            b"qShlibInfoAddr",
        ),
        handlers_general.unsupported,
    ),
}

_WORD_INITIALS = frozenset(b"qQvj")
_HEX_DIGITS = b"0123456789abcdef"
_SEPARATORS = bytes.maketrans(b":,;", b";;;")


def find_handler(payload: bytes) -> tuple[Handler, bytes]:
    """Return the handler of a packet and the arguments to give it."""
    initial = payload[0] if payload else 0
    if initial in _WORD_INITIALS:
        # Names are short; only their stretch of the packet is searched.
        end = payload[:32].translate(_SEPARATORS).find(b";")
        word, arguments = (payload, b"") if end < 0 else (payload[:end], payload[end + 1 :])
        handler = BY_WORD.get(word)
        if handler is None and not arguments:
            # LLDB writes some numbers right behind the word.
            stem = word.rstrip(_HEX_DIGITS)
            handler, arguments = BY_WORD.get(stem), word[len(stem) :]
        return handler or handlers_general.unsupported, arguments
    return BY_LETTER.get(initial, handlers_general.unsupported), payload[1:]
