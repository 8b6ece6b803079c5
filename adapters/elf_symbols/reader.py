"""Reads what the server wants to know of an ELF symbol file."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, SymbolTableSection

from kdump_gdbserver.domain.errors import InputError


class ElfSymbolFile:
    """An ELF file's build-id, first PT_LOAD and symbols; implements `ports.SymbolFile`.

    The file is read anew for each question, so that nothing of it stays in memory.
    """

    def __init__(self, path: str, advice: str | None = None) -> None:
        """Read the headers; raise `InputError`, with the advice, if `path` is no ELF program."""
        self.path = path
        self._advice = advice
        with _reading(path, advice) as elf:
            loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
            if not loads:
                advice = advice or "give the linked vmlinux"
                raise InputError(f"{path}: has no PT_LOAD segment; {advice}")
            self.first_segment = int(loads[0]["p_vaddr"])
            self.build_id = _build_id(elf)

    def symbols(self, names: Collection[str]) -> Mapping[str, int]:
        """Return the values of those of the named symbols that the symbol table has.

        Raises `InputError` when the table is damaged or the file is there no longer.
        """
        found: dict[str, int] = {}
        with _reading(self.path, self._advice) as elf:
            for section in elf.iter_sections():
                if isinstance(section, SymbolTableSection):
                    found.update(_values(elf, section, names))
        return found


class ElfSymbolFileOpener:
    """Opens ELF files; implements `ports.SymbolFileOpener`."""

    def open(self, path: str, advice: str | None = None) -> ElfSymbolFile:
        """See `SymbolFileOpener.open`."""
        return ElfSymbolFile(path, advice)


@contextlib.contextmanager
def _reading(path: str, advice: str | None) -> Iterator[ELFFile]:
    """Open an ELF file; make an `InputError` of all that can be wrong with it."""
    try:
        with Path(path).open("rb") as file:
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


def _values(elf: ELFFile, section: SymbolTableSection, names: Collection[str]) -> dict[str, int]:
    """Return the values of the named symbols of one table; the last one's of equal names.

    pyelftools makes an object of every symbol, which takes seconds for a vmlinux.
    """
    strings = section.stringtable.data()
    places: dict[int, str] = {}
    for name in names:
        text = name.encode() + b"\0"
        at = strings.find(text)
        while at >= 0:  # a name may also be the end of another one, and have that one's place
            places[at] = name
            at = strings.find(text, at + 1)
    order = "<" if elf.little_endian else ">"
    entry = struct.Struct(order + ("I2xH2Q" if elf.elfclass == 64 else "3I2xH"))
    value_at = 2 if elf.elfclass == 64 else 1
    data = section.data()
    symbols = entry.iter_unpack(data[: len(data) // entry.size * entry.size])
    return {places[each[0]]: each[value_at] for each in symbols if each[0] in places}


def _build_id(elf: ELFFile) -> str | None:
    for section in elf.iter_sections():
        if isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_name"] == "GNU" and note["n_type"] == "NT_GNU_BUILD_ID":
                    return str(note["n_desc"]).lower()
    return None
