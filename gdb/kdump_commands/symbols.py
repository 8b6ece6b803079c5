"""What gdb's symbols, and the kernel's own notes, say of the kernel."""

from typing import Any, Dict, Iterable, Optional, Tuple

import gdb

from .errors import KdumpError, Unreadable
from .memory import Layout, Member, Memory
from .notes import parse_vmcoreinfo


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


def resolve_member(type_: Any, path: str) -> Optional[Member]:
    """The Member that a path like "thread.cpu_context.fp" leads to, or None."""
    offset = 0
    for name in path.split("."):
        found = find_member(type_, name)
        if found is None:
            return None
        offset += found[0]
        type_ = found[1].type.strip_typedefs()
    kind = {
        gdb.TYPE_CODE_PTR: "pointer",
        gdb.TYPE_CODE_ARRAY: "bytes",
    }.get(type_.code, "int")
    return Member(offset, type_.sizeof, kind)


def require_member(type_: Any, path: str) -> Member:
    """The same, but it must be there."""
    member = resolve_member(type_, path)
    if member is None:
        raise KdumpError("%s has no member %s: kernel not supported" % (type_, path))
    return member


class Symbols:
    """What gdb knows of the kernel: where its variables are, and how its structures look."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._variables: Dict[str, Optional[int]] = {}
        self._layouts: Dict[Any, Layout] = {}
        self._notes: Optional[Dict[str, str]] = None

    def find(self, name: str) -> Optional[int]:
        """The address of a symbol as gdb has it, or None."""
        symbol = gdb.lookup_global_symbol(name)
        try:
            if symbol is not None and symbol.symtab is not None:
                return int(symbol.value().address) % 2**64
            return int(gdb.parse_and_eval("(unsigned long)&%s" % name)) % 2**64
        except (gdb.error, ValueError, TypeError):
            return None

    def address(self, name: str) -> int:
        """The same, but it must be there."""
        address = self.find(name)
        if address is None:
            raise KdumpError("no symbol %s: load the dump's kernel symbols (`file vmlinux`)" % name)
        return address

    def type(self, name: str) -> Any:
        """A gdb.Type by its name, or KdumpError."""
        try:
            return gdb.lookup_type(name).strip_typedefs()
        except gdb.error:
            raise KdumpError(
                "no type %s: this vmlinux lacks debug information (install the kernel's debug "
                "package, load its vmlinux)" % name
            ) from None

    def layout(
        self,
        name: str,
        required: Iterable[str] = (),
        optional: Iterable[str] = (),
        renamed: Optional[Dict[str, str]] = None,
    ) -> Layout:
        """A Layout with those members of the type `name` that it has.

        `renamed` maps a member's name in the layout to its path in the type. KdumpError if one
        of `required` or `renamed` is missing, or none is left.
        """
        paths = {path: path for path in tuple(required) + tuple(optional)}
        paths.update(renamed or {})
        key = (name, tuple(paths.items()))
        if key not in self._layouts:
            self._layouts[key] = self._make_layout(name, paths, optional)
        return self._layouts[key]

    def _make_layout(self, name: str, paths: Dict[str, str], optional: Iterable[str]) -> Layout:
        type_ = self.type(name)
        members = {}
        for key, path in paths.items():
            member = resolve_member(type_, path)
            if member is not None:
                members[key] = member
            elif path not in optional:
                require_member(type_, path)
        if not members:
            raise KdumpError("%s has no known member: kernel not supported" % name)
        return Layout(type_.sizeof, members)

    def variable(self, name: str, size: int = 8) -> Optional[int]:
        """The value of a kernel variable of `size` bytes, or None if there is none."""
        if name not in self._variables:
            address = self.find(name)
            value = None if address is None else self.memory.integer(address, size)
            self._variables[name] = value
        return self._variables[name]

    def vmcoreinfo(self) -> Dict[str, str]:
        """What the kernel noted for readers of its dumps (kernel/vmcore_info.c), as a dict.

        Read from the ELF note that dumps get it from. The text itself is of no use: once a crash
        kernel is loaded, it is in memory that no dump holds.
        """
        if self._notes is None:
            self._notes = self._read_vmcoreinfo()
        return self._notes

    def _read_vmcoreinfo(self) -> Dict[str, str]:
        pointer = self.find("vmcoreinfo_note")
        if pointer is None:
            return {}
        try:
            note = self.memory.pointer(pointer)
            name_size = self.memory.integer(note, 4)
            size = self.memory.integer(note + 4, 4)
            return parse_vmcoreinfo(
                self.memory.fetch(note + 12 + (name_size + 3 & ~3), min(size, 1 << 16))
            )
        except Unreadable:
            return {}
