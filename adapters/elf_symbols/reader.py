"""Reads what the server wants to know of an ELF symbol file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, SymbolTableSection

from kdump_gdbserver.domain.errors import InputError


class ElfSymbolFile:
    """An ELF file's build-id, first PT_LOAD and symbols; implements `ports.SymbolFile`.

    The file is read anew for each question, so that nothing of it stays in memory.
    """

    def __init__(self, path: str) -> None:
        """Read the headers; raise `InputError` when `path` is no readable ELF file."""
        self.path = path
        self.build_id: str | None = None
        try:
            with Path(path).open("rb") as file:
                elf = ELFFile(file)
                loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
                if not loads:
                    raise InputError(f"{path}: has no PT_LOAD segment; give the linked vmlinux")
                self.first_segment = int(loads[0]["p_vaddr"])
                self.build_id = _build_id(elf)
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}; give the vmlinux of the dumped kernel"
            ) from error
        except (ELFError, ValueError, LookupError) as error:
            raise InputError(
                f"{path}: not an ELF file ({error or 'bad header'}); give the uncompressed vmlinux"
                " with debuginfo, not a bzImage"
            ) from error

    def symbols(self, names: Collection[str]) -> Mapping[str, int]:
        """Return the values of those of the named symbols that the symbol table has."""
        wanted = set(names)
        found: dict[str, int] = {}
        with Path(self.path).open("rb") as file:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, SymbolTableSection):
                    for symbol in section.iter_symbols():
                        if symbol.name in wanted:
                            found[symbol.name] = int(symbol["st_value"])
        return found


class ElfSymbolFileOpener:
    """Opens ELF files; implements `ports.SymbolFileOpener`."""

    def open(self, path: str) -> ElfSymbolFile:
        """See `SymbolFileOpener.open`."""
        return ElfSymbolFile(path)


def _build_id(elf: ELFFile) -> str | None:
    for section in elf.iter_sections():
        if isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    return str(note["n_desc"]).lower()
    return None
