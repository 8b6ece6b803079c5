"""SymbolFile: a vmlinux or another ELF file with the dumped program's symbols."""

from __future__ import annotations

from typing import Protocol

from kdump_gdbserver.domain.kernel.types import Types


class SymbolFile(Protocol):
    """What the server wants to know of an ELF file; addresses are as linked."""

    @property
    def path(self) -> str:
        """Where the file is, as it was given."""

    @property
    def build_id(self) -> str | None:
        """The GNU build-id as lower-case hex."""

    @property
    def machine(self) -> int:
        """The ELF number of the machine (e_machine)."""

    @property
    def has_symbols(self) -> bool:
        """Whether there is a symbol table with names in it; a stripped file has none."""

    @property
    def first_segment(self) -> int:
        """Virtual address of the first PT_LOAD."""

    def types(self, load_offset: int) -> Types:
        """Return the file, a vmlinux, as a source of types and of symbols at run time.

        `load_offset` is what KASLR added to every address; per-CPU variables stay as they
        are where their area is linked at 0. Raises `InputError` when the file is damaged.
        """
