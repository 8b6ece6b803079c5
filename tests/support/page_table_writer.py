"""Page tables under construction, as each architecture's hardware and Linux want them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import aarch64, ppc64le, riscv64, s390x, x86_64
from kdump_gdbserver.domain.arch.paging import TableForm

# (physical address, level) -> entry
Encode = Callable[[int, int], int]


@dataclass(frozen=True)
class Paging:
    """A form of page tables, and how its entries are written."""

    name: str
    form: TableForm
    table: Encode
    page: Encode
    largest: int  # the highest level whose entries may be pages
    address_bits: int = 48
    byte_order: ByteOrder = "little"  # of entries
    is_set: int = 0  # bits that an entry which leads nowhere has set, in the lowest table
    is_set_above: int = 0  # the same in the others

    def empty(self, level: int) -> bytearray:
        """A table of entries that lead nowhere."""
        entry = self.is_set if level == 1 else self.is_set_above
        count = 1 << self.form.widths[level - 1]
        return bytearray(entry.to_bytes(8, self.byte_order) * count)


def x86_64_paging(levels: int = 4, hidden_bits: int = 0, flags: int = 0x3) -> Paging:
    def table(physical: int, level: int) -> int:
        return physical | flags | hidden_bits

    def page(physical: int, level: int) -> int:
        return physical | flags | hidden_bits | (0x80 if level > 1 else 0)

    form = x86_64.table_form(levels, hidden_bits)
    return Paging(f"x86_64-{levels}{'-sme' * bool(hidden_bits)}", form, table, page, 3, 46)


def aarch64_paging(page_size: int, bits: int, made_for: int = 0) -> Paging:
    form = aarch64.table_form(page_size, bits, made_for)
    lpa2, lpa = bits > 48 and page_size < 65536, page_size == 65536

    def placed(physical: int) -> int:
        if lpa:
            return physical & (1 << 48) - 1 | (physical >> 48) << 12
        return physical & (1 << 50) - 1 | (physical >> 50) << 8 if lpa2 else physical

    return Paging(
        f"aarch64-{page_size >> 10}k-{bits}{f'-of-{made_for}' if made_for else ''}",
        form,
        lambda physical, level: placed(physical) | 0x3,
        lambda physical, level: placed(physical) | (0x403 if level == 1 else 0x401),
        (3 if page_size == 4096 else 2) + (lpa or lpa2),
        52 if lpa or lpa2 else 48,
    )


def riscv64_paging(bits: int = 48) -> Paging:
    form = riscv64.table_form(bits)
    return Paging(
        f"riscv64-sv{bits}",
        form,
        lambda physical, level: physical >> 2 | 0x1,
        lambda physical, level: physical >> 2 | 0xCF,
        form.levels,
        56,
    )


def ppc64le_paging(page_size: int) -> Paging:
    form = ppc64le.table_form(page_size, 52)
    return Paging(
        f"ppc64le-{page_size >> 10}k",
        form,
        lambda physical, level: physical | 1 << 63 | 5,
        lambda physical, level: physical | 3 << 62 | 0x18F,
        3,
        50,
        "big",
    )


def s390x_paging(bits: int) -> Paging:
    def page(physical: int, level: int) -> int:
        return physical | (0 if level == 1 else 0x400 | level - 2 << 2)

    form = s390x.table_form(4096, bits)
    return Paging(
        f"s390x-{bits}",
        form,
        lambda physical, level: physical | max(level - 2, 0) << 2 | (0 if level == 2 else 3),
        page,
        3,
        52,
        "big",
        0x400,
        0x20,
    )


PAGINGS = (
    x86_64_paging(4),
    x86_64_paging(5),
    x86_64_paging(4, hidden_bits=1 << 47),
    *(aarch64_paging(4096, bits) for bits in (39, 48, 52)),
    *(aarch64_paging(16384, bits) for bits in (36, 47, 48, 52)),
    *(aarch64_paging(65536, bits) for bits in (42, 48, 52)),
    aarch64_paging(65536, 48, 52),
    *(riscv64_paging(bits) for bits in (39, 48, 57)),
    *(ppc64le_paging(size) for size in (4096, 65536)),
    *(s390x_paging(bits) for bits in (31, 42, 53)),
)


class TableWriter:
    """Tables below a top one at `root`; further ones are taken from `more` on, page by page."""

    def __init__(self, paging: Paging, root: int, more: int | None = None) -> None:
        self.paging = paging
        self.root = root
        form = paging.form
        self._size = max(8 << max(form.widths), 8 << form.widths[-1])
        self._next = root + self._size if more is None else more
        self.tables: dict[int, bytearray] = {root: paging.empty(form.levels)}

    def place(self, virtual: int, level: int) -> tuple[bytearray, int]:
        """Return the table of a level for an address, made if it is not there, and the offset."""
        form, table = self.paging.form, self.root
        for at in range(form.levels, level, -1):
            data, offset = self.tables[table], self._offset(virtual, at)
            entry = int.from_bytes(data[offset : offset + 8], self.paging.byte_order)
            if entry == self.paging.is_set_above:
                fresh, self._next = self._next, self._next + self._size
                self.tables[fresh] = self.paging.empty(at - 1)
                entry = self.paging.table(fresh, at)
                data[offset : offset + 8] = entry.to_bytes(8, self.paging.byte_order)
            table = form.decode(entry, at)[1]
        return self.tables[table], self._offset(virtual, level)

    def put(self, virtual: int, entry: int, level: int = 1) -> None:
        """Store an entry as it is."""
        data, offset = self.place(virtual, level)
        data[offset : offset + 8] = entry.to_bytes(8, self.paging.byte_order)

    def map(self, virtual: int, physical: int, level: int = 1) -> None:
        """Map a page, of the size that an entry of `level` stands for."""
        self.put(virtual, self.paging.page(physical, level), level)

    def _offset(self, virtual: int, level: int) -> int:
        form = self.paging.form
        return (virtual >> form.shift(level) & (1 << form.widths[level - 1]) - 1) * 8

    @property
    def segments(self) -> dict[int, bytes]:
        """All tables by their physical addresses."""
        return {address: bytes(table) for address, table in self.tables.items()}
