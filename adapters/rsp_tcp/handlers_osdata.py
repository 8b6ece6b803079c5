"""`qXfer:osdata`: tables for gdb's `info os` (GDB manual, "Operating System Information")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdump_gdbserver.adapters.rsp_tcp.client import Client
from kdump_gdbserver.adapters.rsp_tcp.encoding import PacketError, xml_text


def os_data(client: Client, annex: str) -> bytes:
    """Return the table named `annex`; without a name the table of tables."""
    tables = client.session.os_tables
    if not annex:
        rows = ((table.name, table.description, table.title) for table in tables)
        return _document("types", ("Type", "Description", "Title"), rows)
    for table in tables:
        if table.name == annex:
            return _document(annex, table.columns, table.rows())
    raise PacketError(f"no table named {annex}; 'info os' lists those there are")


def _document(kind: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    lines = ['<?xml version="1.0"?>', '<!DOCTYPE target SYSTEM "osdata.dtd">']
    lines.append(f'<osdata type="{kind}">')
    for row in rows:
        cells = "".join(
            f'<column name="{name}">{xml_text(value)}</column>'
            for name, value in zip(columns, row, strict=True)
        )
        lines.append(f"<item>{cells}</item>")
    lines.append("</osdata>\n")
    return "\n".join(lines).encode()
