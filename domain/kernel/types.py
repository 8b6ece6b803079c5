"""Types: where the kernel's symbols and the members of its structures are.

There are three sources: gdb's own symbols (in the gdb script), BTF and kallsyms out of the dump,
and the DWARF of a vmlinux. Each of them is a `Types`; the walkers know nothing else.
"""

from typing import NamedTuple, Optional


class Member(NamedTuple):
    """Where one member of a structure lies.

    `offset` and `size` are in bytes; `kind` is int, pointer or bytes (an array, a structure). A bit
    field's offset is that of the byte in which it begins.
    """

    offset: int
    size: int
    kind: str = "int"


class Types:
    """A source of types and symbols; what it does not know is None, never a guess."""

    # Ends of messages: what to do where a symbol or a type is not known, or is another kernel's.
    no_symbol = "kernel not supported"
    no_type = "kernel not supported"
    mismatch = "these symbols are another kernel's"

    def symbol(self, name: str) -> Optional[int]:
        """Return the run-time address of a kernel symbol.

        For a per-CPU variable, it is what has to be added to an entry of `__per_cpu_offset`.
        """
        raise NotImplementedError

    def size(self, type_name: str) -> Optional[int]:
        """Return the size of a type in bytes.

        `type_name` is as in C: "struct task_struct", "union thread_union", or a typedef's name.
        """
        raise NotImplementedError

    def member(self, type_name: str, path: str) -> Optional[Member]:
        """Return the member that a path like "thread.cpu_context.fp" leads to.

        Members of nameless structs and unions are found as if they stood in the outer one.
        """
        raise NotImplementedError

    def variable_size(self, name: str) -> Optional[int]:
        """Return the size of a variable in bytes; only debug information has it."""
        return None

    def build_id(self) -> Optional[str]:
        """Return the build-id (hex) of the file that all this is from, None if it is no file."""
        return None
