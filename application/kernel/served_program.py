"""Which file debuggers get for the kernel's program: one that leads to its vmlinux, or the dump's
own symbols.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kdump_gdbserver.application.kernel.kernel_files import (
    KernelProgram,
    MakeProgram,
    identity,
)
from kdump_gdbserver.application.made_file import MadeFile
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.symbol_files.sections import ElfSections, read_sections
from kdump_gdbserver.domain.symbol_files.stub import section_stub
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.remote_files import RemoteFile
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux
from kdump_gdbserver.ports.symbol_store import SymbolStore

if TYPE_CHECKING:
    from kdump_gdbserver.domain.symbols.writers.symbol_image import SymbolImage


# Where the first program header of a 64-bit file tells its address, and its size in memory.
_FIRST_ADDRESS, _FIRST_SIZE = 64 + 16, 64 + 40


class LeadsToVmlinux:
    """A stand-in for a vmlinux by which debuggers take that; implements `KernelProgram`.

    They look for the debug file of its build-id in their own directories, then at the server,
    which has it.
    """

    def __init__(
        self, found: FoundVmlinux, sections: ElfSections, offset: int, files: HostFiles
    ) -> None:
        """Raise `ValueError` for a vmlinux without a build-id."""
        self._found = found
        self._build_id = sections.build_id
        self._stub = section_stub(sections, offset)
        self._files = files

    def open(self) -> RemoteFile:
        """See `KernelProgram.open`."""
        return MadeFile(self._stub)

    def open_debug_file(self, build_id: str) -> RemoteFile | None:
        """See `KernelProgram.open_debug_file`."""
        return self._files.open(self._found.path) if build_id == self._build_id else None

    def describe(self) -> str:
        """See `KernelProgram.describe`."""
        return f"{self._found.path} ({self._found.how}), by its build-id"


class _InParts(NamedTuple):
    """A file, and where the parts of it begin that debuggers read one by one."""

    file: bytes
    parts: list[int]


class DumpsOwnSymbols:
    """An image of what the dump has: names, types, unwind data; implements `KernelProgram`.

    It is made once for all clients, when first needed, or taken from where it was kept.
    """

    def __init__(self, memory: DumpMemory, text: int | None, store: SymbolStore | None) -> None:
        self._memory = memory
        self._text = text
        self._store = store
        self._lock = threading.Lock()
        self._made: tuple[KernelProgram | _InParts, str] | None = None

    def open(self) -> RemoteFile:
        """See `KernelProgram.open`."""
        program, _ = self._program()
        return MadeFile(*program) if isinstance(program, _InParts) else program.open()

    def open_debug_file(self, build_id: str) -> RemoteFile | None:
        """See `KernelProgram.open_debug_file`."""
        return None

    def describe(self) -> str:
        """See `KernelProgram.describe`."""
        return self._program()[1]

    def _program(self) -> tuple[KernelProgram | _InParts, str]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> tuple[KernelProgram | _InParts, str]:
        from kdump_gdbserver.application.symbols.symbol_image import NoSymbolsError
        from kdump_gdbserver.domain.symbol_files.compression import compressed

        offset = self._memory.dump.vmcoreinfo.kaslr_offset or 0
        try:
            image = dumps_image(self._memory, self._store)
            file = _with_first_segment_at(image.relocated(offset), image.order, self._text)
            file = compressed(file)
        except (NoSymbolsError, MemoryFault, ValueError) as error:
            nothing = identity(self._memory)
            return nothing, f"{nothing.describe()}; the dump's own could not be made: {error}"
        missing = "".join(f"; {each}" for each in image.missing)
        parts = read_sections(lambda at, count: file[at : at + count], len(file)).parts
        size = f"{len(file) / (1 << 20):.1f} MiB"
        return _InParts(file, parts), f"the dump's own symbols, {size}{missing}"


def dumps_image(dump_memory: DumpMemory, store: SymbolStore | None) -> SymbolImage:
    """Return the symbol image of a dump, at link-time addresses.

    It is kept by build-id, unless the dump lacks what an image is made of. Raises
    `NoSymbolsError` and `MemoryFault` where there can be none.
    """
    from kdump_gdbserver.application.symbols import kept_image
    from kdump_gdbserver.application.symbols.symbol_image import SYMBOLS, make_symbol_image
    from kdump_gdbserver.domain.symbols.dump_types import DumpTypes

    dump = dump_memory.dump
    info, memory = dump.vmcoreinfo, dump_memory.kernel()  # of this thread
    # Read again, and dropped when the image is made: views do not keep them.
    types = DumpTypes(memory, info, dump.facts.arch, SYMBOLS)
    name = info.build_id or ""
    proof = None
    if store is not None and name:
        proof = kept_image.fingerprint(memory, types, info.kaslr_offset or 0)
    if store is not None and proof is not None:
        content = store.load(name)
        kept = kept_image.unpack(content, proof) if content is not None else None
        if kept is not None:
            return kept
    image = make_symbol_image(memory, info, dump.facts.arch, types)
    if store is not None and proof is not None:
        store.save(name, kept_image.pack(image, proof))
    return image


def _with_first_segment_at(file: bytes, order: ByteOrder, text: int | None) -> bytes:
    """Return the file with its first PT_LOAD beginning at `text`.

    There the debugger is told the kernel begins (`qOffsets`). By what differs it moves every
    program, also one that is where it belongs.
    """
    if text is None:
        return file
    word = struct.Struct("<Q" if order == "little" else ">Q")
    (start,) = word.unpack_from(file, _FIRST_ADDRESS)
    if start == text:
        return file
    changed = bytearray(file)
    (size,) = word.unpack_from(file, _FIRST_SIZE)
    word.pack_into(changed, _FIRST_ADDRESS, text)
    word.pack_into(changed, _FIRST_SIZE, max(size + start - text, 0))
    return bytes(changed)


@dataclass(frozen=True, slots=True)
class ServeDumpsOwn:
    """Serves the dump's own symbols; keeps what it made in `store`, if there is one."""

    store: SymbolStore | None

    def __call__(self, memory: DumpMemory, text: int | None) -> KernelProgram:
        """Make the program."""
        return DumpsOwnSymbols(memory, text, self.store)


@dataclass(frozen=True, slots=True)
class ServeVmlinux:
    """Serves a vmlinux that was found, or what `otherwise` makes where that cannot be."""

    found: FoundVmlinux
    files: HostFiles
    otherwise: MakeProgram

    def __call__(self, memory: DumpMemory, text: int | None) -> KernelProgram:
        """Make the program."""
        info = memory.dump.vmcoreinfo
        file = self.files.open(self.found.path)
        if file is None:
            return self.otherwise(memory, text)
        try:
            sections = read_sections(file.read, file.size)
            offset = _offset(info.kaslr_offset, text, sections)
            if sections.build_id != info.build_id or offset is None:
                return self.otherwise(memory, text)
            return LeadsToVmlinux(self.found, sections, offset, self.files)
        except (ValueError, OSError):
            return self.otherwise(memory, text)
        finally:
            file.close()


def _offset(kaslr: int | None, text: int | None, sections: ElfSections) -> int | None:
    """Return by how much the kernel was moved, None where nothing, or not the same, tells it."""
    if text is None:
        return kaslr
    moved = text - sections.first_segment
    return moved if kaslr is None or (moved - kaslr) % (1 << 64) == 0 else None
