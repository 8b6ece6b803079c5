"""Thread-local variables of programs with the GNU C library.

The library describes its own structures to debuggers in variables named `_thread_db_*`
(glibc, nptl_db/structs.def and db_info.c): each is the size of a member in bits, the number
of its elements and its offset in bytes. Only the debugger can look those symbols up; with
them, one way fits every version. Layouts of the blocks: "ELF Handling For Thread-Local
Storage" by U. Drepper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.threads import Thread

_PREFIX = "_thread_db_"
# The list of modules: in a static program a variable of its own; else a member of the
# loader's data, which the library has a pointer to (since glibc 2.33) or gdb a symbol.
_LIST, _LOADER_POINTER, _LOADER = (
    "_dl_tls_dtv_slotinfo_list",
    "__nptl_rtld_global",
    "_rtld_global",
)
_SIZE = "sizeof_pthread"
_SLOTINFO_SIZE = "sizeof_dtv_slotinfo"
_FIELDS = (
    "link_map_l_tls_modid",
    "link_map_l_tls_offset",
    "pthread_dtvp",
    "dtv_dtv",
    "dtv_t_pointer_val",
    "dtv_t_counter",
    "rtld_global__dl_tls_dtv_slotinfo_list",
    "dtv_slotinfo_list_len",
    "dtv_slotinfo_list_next",
    "dtv_slotinfo_list_slotinfo",
    "dtv_slotinfo_gen",
)
_WANTED = (
    _LIST,
    _LOADER_POINTER,
    _LOADER,
    *(_PREFIX + name for name in (_SIZE, _SLOTINFO_SIZE, *_FIELDS)),
)
_MAX_MODULES = 1 << 16


class _Field(NamedTuple):
    bits: int
    elements: int
    offset: int


class GlibcThreadLocals:
    """Finds thread-local variables; implements `ports.thread_locals.ThreadLocals`.

    `thread_pointer` returns a thread's thread pointer, None where it is not known.
    """

    def __init__(
        self, arch: Arch, memory: AddressSpace, thread_pointer: Callable[[Thread], int | None]
    ) -> None:
        self._arch = arch
        self._memory = memory
        self._thread_pointer = thread_pointer
        self._symbols: dict[str, int] = {}
        self._static_below = arch.process.tls_below

    @property
    def wanted(self) -> Sequence[str]:
        """See `ThreadLocals.wanted`."""
        return _WANTED

    def tell(self, name: str, address: int | None) -> str | None:
        """See `SymbolQuestions.tell`; a program's symbols are not compared with anything."""
        if address is None:
            self._symbols.pop(name, None)
        elif name in _WANTED:  # clients may say anything
            self._symbols[name] = address
        return None

    def address(self, thread: Thread, offset: int, link_map: int) -> int:
        """See `ThreadLocals.address`."""
        pointer = self._thread_pointer(thread)
        if pointer is None:
            raise LookupError(f"the thread pointer of thread {thread.id.tid} is not known")
        block = self._static_block(pointer, link_map) if link_map else None
        if block is None:
            # A static program has no link map, and its own block is that of module 1.
            module = self._value(link_map, "link_map_l_tls_modid") if link_map else 1
            block = self._dynamic_block(pointer, module)
        return (block + offset) & self._arch.pointer_mask

    def _static_block(self, pointer: int, link_map: int) -> int | None:
        """Return the block of a module that was there when the thread began, else None."""
        mask = self._arch.pointer_mask
        offset = self._value(link_map, "link_map_l_tls_offset") & mask
        # NO_TLS_OFFSET and FORCED_DYNAMIC_TLS_OFFSET (glibc, elf/dl-tls.c).
        if offset in ((0, mask) if self._static_below else (mask, mask - 1)):
            return None
        return pointer - offset if self._static_below else pointer + offset

    def _dynamic_block(self, pointer: int, module: int) -> int:
        """Return a module's block by the thread's vector of them (dtv)."""
        if not 0 < module <= _MAX_MODULES:
            raise LookupError("the module has no thread-local variables")
        pthread = pointer if self._static_below else pointer - self._word(_PREFIX + _SIZE, 4)
        vector = self._value(pthread, "pthread_dtvp")
        element = self._field("dtv_dtv")
        size = element.bits // 8

        def entry(index: int) -> int:
            return (vector + element.offset + index * size) & self._arch.pointer_mask

        # The vector's length comes before it, and its generation is the first entry.
        if module > self._value(entry(-1), "dtv_t_counter"):
            raise _not_allocated()
        if self._value(entry(0), "dtv_t_counter") < self._generation(module):
            raise _not_allocated()
        block = self._value(entry(module), "dtv_t_pointer_val")
        if block in (0, self._arch.pointer_mask):
            raise _not_allocated()
        return block

    def _generation(self, module: int) -> int:
        """Return the generation of the list of modules in which this one came."""
        part = self._modules()
        index = module
        for _ in range(_MAX_MODULES):
            if not part:
                break
            length = self._value(part, "dtv_slotinfo_list_len")
            if index < length:
                slots = part + self._field("dtv_slotinfo_list_slotinfo").offset
                slot = slots + index * self._word(_PREFIX + _SLOTINFO_SIZE, 4)
                return self._value(slot, "dtv_slotinfo_gen")
            index -= length
            part = self._value(part, "dtv_slotinfo_list_next")
        raise LookupError("the module is not in the C library's list of modules")

    def _modules(self) -> int:
        word = self._arch.pointer_size
        if _LIST in self._symbols:
            return self._word(_LIST, word)
        if _LOADER_POINTER in self._symbols:
            loader = self._word(_LOADER_POINTER, word)
        else:
            loader = self._symbol(_LOADER)
        return self._value(loader, "rtld_global__dl_tls_dtv_slotinfo_list")

    def _value(self, struct: int, name: str) -> int:
        field = self._field(name)
        return self._value_at(struct + field.offset, field.bits // 8)

    def _field(self, name: str) -> _Field:
        at = self._symbol(_PREFIX + name)
        field = _Field(*(self._value_at(at + i, 4) for i in (0, 4, 8)))
        if not 0 < field.bits <= 1 << 16:
            raise LookupError(f"{_PREFIX}{name} makes no sense: the symbols are of another program")
        return field

    def _word(self, symbol: str, size: int) -> int:
        return self._value_at(self._symbol(symbol), size)

    def _value_at(self, address: int, size: int) -> int:
        return self._memory.read_uint(
            address & self._arch.pointer_mask, size, self._arch.byte_order
        )

    def _symbol(self, name: str) -> int:
        address = self._symbols.get(name)
        if address is None:
            raise LookupError(
                f"the debugger knows no symbol {name}: it needs the process's own C library"
                " (glibc), see `set sysroot`"
            )
        return address


def _not_allocated() -> LookupError:
    return LookupError("the thread has not used this module's thread-local variables yet")
