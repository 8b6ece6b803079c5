"""What a source of types and the kernel's own notes say of the kernel, or that they do not."""

from typing import Any, Dict, Iterable, Optional

from .errors import KdumpError, Unreadable
from .memory import Layout, Memory
from .notes import parse_vmcoreinfo
from .types import Member, Types


class Symbols:
    """Where the kernel's variables are, and how its structures look.

    `notes` are the lines of VMCOREINFO where they are known; else they are read from the
    kernel's memory when they are wanted.
    """

    def __init__(
        self, types: Types, memory: Memory, notes: Optional[Dict[str, str]] = None
    ) -> None:
        self.types = types
        self.memory = memory
        self._variables: Dict[str, Optional[int]] = {}
        self._layouts: Dict[Any, Layout] = {}
        self._notes = notes

    def find(self, name: str) -> Optional[int]:
        """Return the address of a symbol, or None."""
        return self.types.symbol(name)

    def address(self, name: str) -> int:
        """Return the same; raise KdumpError if it is not there."""
        address = self.find(name)
        if address is None:
            raise KdumpError("no symbol %s: %s" % (name, self.types.no_symbol))
        return address

    def size(self, type_name: str) -> int:
        """Return the size of a type in bytes; raise KdumpError if it is not known."""
        size = self.types.size(type_name)
        if size is None:
            raise KdumpError("no type %s: %s" % (type_name, self.types.no_type))
        return size

    def member(self, type_name: str, path: str) -> Optional[Member]:
        """Return the member that a path leads to, None if the type has none.

        Raises KdumpError if the type is not known.
        """
        member = self.types.member(type_name, path)
        if member is None:
            self.size(type_name)
        return member

    def require_member(self, type_name: str, path: str) -> Member:
        """Return the same; raise KdumpError if it is not there."""
        member = self.member(type_name, path)
        if member is None:
            raise KdumpError("%s has no member %s: kernel not supported" % (type_name, path))
        return member

    def stack_size(self) -> int:
        """Return THREAD_SIZE in bytes: not the same everywhere (KASAN, large pages)."""
        stack = self.types.member("union thread_union", "stack")
        size = stack.size if stack else self.types.variable_size("init_stack")
        if size:
            return size
        for name in ("stack", "task"):
            start, end = self.find("__start_init_" + name), self.find("__end_init_" + name)
            if start and end:
                return end - start
        raise KdumpError("the size of kernel stacks is not known: kernel not supported")

    def layout(
        self,
        name: str,
        required: Iterable[str] = (),
        optional: Iterable[str] = (),
        renamed: Optional[Dict[str, str]] = None,
    ) -> Layout:
        """Return a Layout with those members of the type `name` that it has.

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
        size = self.size(name)
        members = {}
        for key, path in paths.items():
            member = self.types.member(name, path)
            if member is not None:
                members[key] = member
            elif path not in optional:
                self.require_member(name, path)
        if not members:
            raise KdumpError("%s has no known member: kernel not supported" % name)
        return Layout(size, members)

    def variable(self, name: str, size: int = 8) -> Optional[int]:
        """Return the value of a kernel variable of `size` bytes, or None if there is none."""
        if name not in self._variables:
            address = self.find(name)
            value = None if address is None else self.memory.integer(address, size)
            self._variables[name] = value
        return self._variables[name]

    def vmcoreinfo(self) -> Dict[str, str]:
        """Return what the kernel noted for readers of its dumps (kernel/vmcore_info.c).

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
