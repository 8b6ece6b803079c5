"""gdb's symbols as a source of types."""

from typing import Any, Dict, Optional, Tuple

import gdb

from ...domain.kernel.types import Member, Types


def find_member(type_: Any, name: str) -> Optional[Tuple[int, Any]]:
    """(offset in bytes, gdb.Field) of a member, also inside nameless structs and unions."""
    for field in type_.fields():
        if not hasattr(field, "bitpos"):
            continue
        if field.name == name:
            return field.bitpos // 8, field
        inner = field.type.strip_typedefs()
        if not field.name and inner.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            found = find_member(inner, name)
            if found:
                return field.bitpos // 8 + found[0], found[1]
    return None


class GdbTypes(Types):
    """What gdb knows of the kernel, from the vmlinux that it has loaded."""

    no_symbol = "load the dump's kernel symbols (`file vmlinux`)"
    no_type = (
        "this vmlinux lacks debug information (install the kernel's debug package, load its "
        "vmlinux)"
    )
    mismatch = (
        "vmlinux does not match the dump, or was loaded at another address than the server names"
    )

    def __init__(self) -> None:
        self._types: Dict[str, Any] = {}

    def symbol(self, name: str) -> Optional[int]:
        symbol = gdb.lookup_global_symbol(name)
        try:
            if symbol is not None and symbol.symtab is not None:
                return int(symbol.value().address) % 2**64
            return int(gdb.parse_and_eval("(unsigned long)&%s" % name)) % 2**64
        except (gdb.error, ValueError, TypeError):
            return None

    def size(self, type_name: str) -> Optional[int]:
        type_ = self._type(type_name)
        return None if type_ is None else int(type_.sizeof)

    def member(self, type_name: str, path: str) -> Optional[Member]:
        type_ = self._type(type_name)
        if type_ is None:
            return None
        offset = 0
        for name in path.split("."):
            found = find_member(type_, name)
            if found is None:
                return None
            offset += found[0]
            type_ = found[1].type.strip_typedefs()
        if type_.code == gdb.TYPE_CODE_PTR:
            kind = "pointer"
        elif type_.code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            kind = "bytes"
        else:
            kind = "int"
        return Member(offset, int(type_.sizeof), kind)

    def variable_size(self, name: str) -> Optional[int]:
        symbol = gdb.lookup_global_symbol(name)
        try:
            if symbol is not None:
                return int(symbol.type.sizeof)
            return int(gdb.parse_and_eval("sizeof(%s)" % name))
        except gdb.error:
            return None

    def build_id(self) -> Optional[str]:
        for objfile in gdb.objfiles():
            if getattr(objfile, "build_id", None) and "vmlinux" in (objfile.filename or ""):
                return str(objfile.build_id)
        return None

    def _type(self, name: str) -> Any:
        """The gdb.Type of that name, or None."""
        if name not in self._types:
            try:
                self._types[name] = gdb.lookup_type(name).strip_typedefs()
            except gdb.error:
                self._types[name] = None
        return self._types[name]
