"""Reads what the server wants to know of an ELF symbol file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_E_MACHINE
from elftools.elf.sections import NoteSection, SymbolTableSection

from kdump_gdbserver.adapters.elf_symbols.vmlinux_types import VmlinuxTypes
from kdump_gdbserver.domain.errors import InputError

_LINKED = ("ET_EXEC", "ET_DYN")
_NOT_LINKED = {
    "ET_CORE": "is a core file, not a program",
    "ET_REL": "was not linked (ET_REL)",
}


class ElfSymbolFile:
    """What an ELF program tells of itself; implements `ports.SymbolFile`.

    The file is read anew for each question, so that nothing of it stays in memory.
    """

    def __init__(self, path: str, advice: str | None = None) -> None:
        """Read the headers; raise `InputError`, with the advice, if `path` is no ELF program."""
        self.path = path
        self._advice = advice
        with _reading(path, advice) as elf:
            if elf["e_type"] not in _LINKED:
                reason = _NOT_LINKED.get(elf["e_type"], f"is of ELF type {elf['e_type']}")
                raise InputError(
                    f"{path}: {reason}; {advice or 'give the vmlinux of the dumped kernel'}"
                )
            loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
            if not loads:
                advice = advice or "give the linked vmlinux"
                raise InputError(f"{path}: has no PT_LOAD segment; {advice}")
            self.first_segment = int(loads[0]["p_vaddr"])
            self.build_id = _build_id(elf)
            self.machine = int(ENUM_E_MACHINE.get(elf["e_machine"], elf["e_machine"]))
            self.has_symbols = any(
                isinstance(section, SymbolTableSection) and section.num_symbols() > 1
                for section in elf.iter_sections("SHT_SYMTAB")
            )

    def types(self, load_offset: int) -> VmlinuxTypes:
        """Return the symbols and types of a vmlinux that KASLR moved by `load_offset`.

        Raises `InputError` when the file is damaged or is there no longer.
        """
        with _reading(self.path, self._advice) as elf:
            return VmlinuxTypes(elf, self.path, load_offset)


def _open_regular(path: str, flags: int) -> int:
    """Open a file for `open`; a FIFO would keep us waiting, and a device may have no end."""
    file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    kind = os.fstat(file).st_mode
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):  # of a directory `open` tells
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "is not a regular file")


@contextlib.contextmanager
def _reading(path: str, advice: str | None) -> Iterator[ELFFile]:
    """Open an ELF file; make an `InputError` of all that can be wrong with it."""
    try:
        with open(path, "rb", opener=_open_regular) as file:
            yield ELFFile(file)
    except InputError:
        raise
    except OSError as error:
        advice = advice or "give the vmlinux of the dumped kernel"
        raise InputError(f"{path}: {error.strerror or error}; {advice}") from error
    except Exception as error:  # pyelftools: what a damaged file makes it stumble over
        reason = (str(error).splitlines() or ["bad header"])[0]
        advice = advice or "give the uncompressed vmlinux with debuginfo, not a bzImage"
        raise InputError(f"{path}: not a sound ELF file ({reason}); {advice}") from error


def _build_id(elf: ELFFile) -> str | None:
    for section in elf.iter_sections():
        if isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_name"] == "GNU" and note["n_type"] == "NT_GNU_BUILD_ID":
                    return str(note["n_desc"]).lower()
    return None
