"""`qXfer`: objects that the client reads in parts (GDB manual, "General Query Packets")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kdump_gdbserver.adapters.rsp_tcp.packets.client import PACKET_SIZE, Client
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import UNSUPPORTED, Data, Unsupported
from kdump_gdbserver.adapters.rsp_tcp.packets.threads import thread_list_document
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import (
    PacketError,
    encode_text,
    object_slice,
    parse_hex_pair,
    xml_text,
)
from kdump_gdbserver.adapters.rsp_tcp.wire.target_description import target_description
from kdump_gdbserver.domain.text import printable


def _features(client: Client, annex: str) -> bytes:
    if annex != "target.xml":
        raise PacketError(f"no target description named {annex}")
    return target_description(client.inferior.arch, client.inferior.layout)


def _threads(client: Client, annex: str) -> bytes:
    return thread_list_document(client)


def _auxv(client: Client, annex: str) -> bytes:
    auxv = client.inferior.auxv
    if auxv is None:
        raise PacketError("there is no auxiliary vector")
    return auxv


def _exec_file(client: Client, annex: str) -> bytes:
    path = client.inferior.exec_file
    if path is None:
        raise PacketError("the executable's path is not known")
    return encode_text(path)


def _siginfo(client: Client, annex: str) -> bytes:
    siginfo = client.general_thread.siginfo
    if siginfo is None:
        raise PacketError("no signal was waiting for the thread")
    return siginfo


def _libraries(client: Client, annex: str) -> bytes:
    """Return the libraries (GDB manual, "Library List Format for SVR4 Targets").

    They are told where the dynamic linker's own list is not to be had, so none has a link_map.
    """
    lines = ['<library-list-svr4 version="1.0">']
    lines += [
        f'<library name="{_attribute(path)}" lm="0x0" l_addr="{offset:#x}" l_ld="{dynamic:#x}"'
        ' lmid="0x0"/>'
        for path, offset, dynamic in client.inferior.libraries
    ]
    lines.append("</library-list-svr4>\n")
    return "\n".join(lines).encode()


def _attribute(text: str) -> str:
    return xml_text(text).replace('"', "&quot;")


def _os_data(client: Client, annex: str) -> bytes:
    """Return a table for `info os` (GDB manual, "Operating System Information").

    Without a name it is the list of tables.
    """
    tables = client.inferior.os_tables
    if not annex:
        rows = ((table.name, table.description, table.title) for table in tables)
        return _document("types", ("Type", "Description", "Title"), rows)
    for table in tables:
        if table.name == annex:
            return _document(annex, table.columns, table.rows())
    raise PacketError(f"no table named {annex}; try 'info os'")


def _document(kind: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    lines = ['<?xml version="1.0"?>', '<!DOCTYPE target SYSTEM "osdata.dtd">']
    lines.append(f'<osdata type="{kind}">')
    for row in rows:
        cells = "".join(
            f'<column name="{name}">{printable(xml_text(value))}</column>'
            for name, value in zip(columns, row, strict=True)
        )
        lines.append(f"<item>{cells}</item>")
    lines.append("</osdata>\n")
    return "\n".join(lines).encode()


_OBJECTS: dict[str, Callable[[Client, str], bytes]] = {
    "features": _features,
    "libraries-svr4": _libraries,
    "threads": _threads,
    "auxv": _auxv,
    "exec-file": _exec_file,
    "osdata": _os_data,
    "siginfo": _siginfo,
}


def read_object(client: Client, arguments: bytes) -> Data | Unsupported:
    """`qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH`: a part of an object, which is made only once."""
    fields = arguments.split(b":", 3)
    if len(fields) != 4 or fields[1] != b"read":
        return UNSUPPORTED
    kind, annex = fields[0].decode("latin-1"), fields[2].decode("latin-1")
    make = _OBJECTS.get(kind)
    if make is None:
        return UNSUPPORTED
    offset, length = parse_hex_pair(fields[3])
    key = f"{kind}:{annex}"
    data = client.objects.get(key) if offset else None
    if data is None:
        data = make(client, annex)
        client.objects = {key: data}  # only one, whatever annexes a client invents
    reply = object_slice(data, offset, length, PACKET_SIZE)
    if reply.startswith(b"l"):
        del client.objects[key]
    return Data(reply)
