"""Placement: where a symbol file's contents are at run time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """By how much an ELF file was moved from where it was linked; None for what is not known.

    `offset` (bytes) was added to every address of the file. `first_segment` is the run-time
    address of its first PT_LOAD, which may be known where the file, and so the offset, is not.
    """

    offset: int | None = None
    first_segment: int | None = None

    def of_load_address(self, address: int, image_base: int, mask: int) -> tuple[int, ...]:
        """Return where a load address (p_paddr) of the file may be at run time.

        `image_base` is what the linker script took off virtual addresses to make load addresses
        of them (0 where the file at hand has them alike), `mask` the largest address.
        """
        moved = address + (self.offset or 0)
        return moved & mask, (moved + image_base) & mask


UNKNOWN = Placement()
