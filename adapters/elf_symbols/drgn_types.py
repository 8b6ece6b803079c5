"""The DWARF of a vmlinux as a source of types, read by drgn: 0.2 s for the first."""

from __future__ import annotations

import drgn

from kdump_gdbserver.domain.kernel.types import Member, Types

_KINDS = {
    drgn.TypeKind.POINTER: "pointer",
    drgn.TypeKind.ARRAY: "bytes",
    drgn.TypeKind.STRUCT: "bytes",
    drgn.TypeKind.UNION: "bytes",
}


class DrgnTypes(Types):
    """Sizes and members by DWARF; it knows no symbols."""

    def __init__(self, path: str) -> None:
        """Raise an exception of drgn's when it cannot read the file."""
        self._program = drgn.Program()
        module = self._program.extra_module(path, create=True)
        module.try_file(path, force=True)
        if module.debug_file_path is None:
            raise LookupError(f"{path} has no DWARF")

    def symbol(self, name: str) -> int | None:
        """See `Types.symbol`."""
        return None

    def size(self, type_name: str) -> int | None:
        """See `Types.size`."""
        try:
            return int(drgn.sizeof(self._program.type(type_name)))
        except (LookupError, TypeError, SyntaxError, ValueError):
            return None

    def member(self, type_name: str, path: str) -> Member | None:
        """See `Types.member`."""
        try:
            type_, bits = self._program.type(type_name), 0
            for name in path.split("."):
                member = _underlying(type_).member(name)
                type_, bits = member.type, bits + member.bit_offset
            kind = _KINDS.get(_underlying(type_).kind, "int")
            return Member(bits // 8, int(drgn.sizeof(type_)), kind)
        except (LookupError, TypeError, SyntaxError, ValueError):
            return None


def _underlying(type_: drgn.Type) -> drgn.Type:
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_
