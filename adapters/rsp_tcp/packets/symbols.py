"""Thread-local variables, and the symbols that are asked of the debugger to find them.

`qSymbol` and `qGetTLSAddr` (GDB manual, "General Query Packets").
"""

from __future__ import annotations

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import OK, UNSUPPORTED, Data, Ok, Unsupported
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError, parse_hex, parse_hex_bytes


def symbol_offered(client: Client, arguments: bytes) -> Data | Ok:
    """`qSymbol::`, `qSymbol:VALUE:NAME`: take a symbol's value, ask for the next symbol."""
    questions = client.session.symbol_questions
    if questions is None:
        return OK
    value, _, name = arguments.partition(b":")
    if name:
        address = parse_hex(value) if value else None
        problem = questions.tell(parse_hex_bytes(name).decode("utf-8", "replace"), address)
        if problem is not None:
            client.log.wrong_symbols(problem)
    else:
        client.symbols_asked = 0
    wanted = questions.wanted
    if client.symbols_asked >= len(wanted):
        return OK
    client.symbols_asked += 1
    return Data(b"qSymbol:" + wanted[client.symbols_asked - 1].encode().hex().encode())


def thread_local_address(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qGetTLSAddr:THREAD,OFFSET,LINK-MAP`: the address of a thread-local variable."""
    thread_locals = client.session.thread_locals
    if thread_locals is None:
        return UNSUPPORTED
    fields = arguments.split(b",")
    if len(fields) != 3:
        raise PacketError("qGetTLSAddr takes a thread, an offset and a link map")
    thread = client.find_thread(fields[0])
    try:
        address = thread_locals.address(thread, parse_hex(fields[1]), parse_hex(fields[2]))
    except LookupError as error:
        raise PacketError(str(error)) from None
    return Data(b"%x" % address)
