"""The table of packets and their handlers.

Packets whose name is a word (`q...`, `Q...`, `v...`, `j...`) are looked up by that word, all others
by their first letter. A packet that is in neither table is not supported. Some packets are in a
table although they are not supported, to show that they are known.
"""

from __future__ import annotations

from collections.abc import Callable

from kdump_gdbserver.adapters.rsp_tcp.packets import (
    files,
    general,
    lldb,
    memory,
    modes,
    monitor,
    objects,
    registers,
    search,
    symbols,
    threads,
)
from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import Reply, Work

# A handler takes the client and the part of the packet after its name. It returns the reply, or the
# work that leads to it. An exception that it raises becomes an error reply.
Handler = Callable[[Client, bytes], Reply | Work]

_BY_LETTER: dict[str, Handler] = {
    "?": threads.stop_reason,
    "g": registers.read_all,
    "p": registers.read_one,
    "G": registers.refuse_write,
    "P": registers.refuse_write,
    "m": memory.read_memory,
    "M": memory.refuse_write,
    "X": memory.refuse_write,
    "H": threads.select,
    "T": threads.is_alive,
    "x": memory.read_binary,
    "!": modes.extended_mode,
    "D": modes.detach,
    "k": modes.kill,
    "R": modes.restart,
    "c": general.refuse_to_run,
    "C": general.refuse_to_run,
    "s": general.refuse_to_run,
    "S": general.refuse_to_run,
    "Z": general.refuse_breakpoint,
    "z": general.refuse_breakpoint,
}
BY_LETTER = {ord(letter): handler for letter, handler in _BY_LETTER.items()}

BY_WORD: dict[bytes, Handler] = {
    b"qSupported": general.supported,
    b"QStartNoAckMode": general.start_no_ack_mode,
    b"qAttached": general.attached,
    b"qOffsets": general.offsets,
    b"qSymbol": symbols.symbol_offered,
    b"qC": threads.current,
    b"qfThreadInfo": threads.list_first,
    b"qsThreadInfo": threads.list_next,
    b"qGetTLSAddr": symbols.thread_local_address,
    b"qThreadExtraInfo": threads.extra_info,
    b"qXfer": objects.read_object,
    b"qSearch": search.search,
    b"qCRC": search.checksum_of_memory,
    b"qRcmd": monitor.run_command,
    b"Qqemu.PhyMemMode": modes.set_physical,
    b"qqemu.PhyMemMode": modes.is_physical,
    b"qqemu.Supported": modes.extensions,
    b"vCont": general.refuse_to_run,
    b"vFile": files.file_request,
    b"vKill": modes.kill_process,
    b"vAttach": modes.attach,
    b"vRun": modes.refuse_to_start,
    # LLDB's own
    b"QThreadSuffixSupported": lldb.thread_suffix,
    b"QListThreadsInStopReply": lldb.threads_in_stop_reply,
    b"QEnableErrorStrings": lldb.error_strings,
    b"qHostInfo": lldb.host_info,
    b"qProcessInfo": lldb.process_info,
    b"qMemoryRegionInfo": lldb.memory_region,
    b"qThreadStopInfo": lldb.thread_stop_info,
    b"jThreadsInfo": lldb.threads_info,
    b"qRegisterInfo": lldb.register_info,
    b"qGetWorkingDir": lldb.working_directory,
    b"qGDBServerVersion": lldb.server_version,
    # Known but not supported: nothing runs, and there are no tracepoints.
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
        general.unsupported,
    ),
}

_unsupported = general.unsupported
_WORD_INITIALS = frozenset(b"qQvj")
_HEX_DIGITS = b"0123456789abcdef"
_SEPARATORS = bytes.maketrans(b":,;", b";;;")


def find_handler(payload: bytes) -> tuple[Handler, bytes]:
    """Return the handler of a packet and the arguments for it."""
    initial = payload[0] if payload else 0
    if initial in _WORD_INITIALS:
        # Names are short, so only the start of the packet is searched.
        end = payload[:32].translate(_SEPARATORS).find(b";")
        word, arguments = (payload, b"") if end < 0 else (payload[:end], payload[end + 1 :])
        handler = BY_WORD.get(word)
        if handler is None and not arguments:
            # LLDB appends some numbers to the word.
            stem = word.rstrip(_HEX_DIGITS)
            handler, arguments = BY_WORD.get(stem), word[len(stem) :]
        return handler or _unsupported, arguments
    return BY_LETTER.get(initial, _unsupported), payload[1:]
