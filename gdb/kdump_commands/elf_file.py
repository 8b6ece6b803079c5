"""What the vmlinux file itself says: symbols and sections as they are linked."""

import pathlib
import re
import struct
from typing import Dict, Iterable, List, Tuple

from ...domain.kernel.errors import KdumpError


def linked_at(path: str, names: Iterable[str]) -> Dict[str, int]:
    """What an x86_64 ELF file's symbol table says of these symbols; {} if there is none.

    Source: the System V ABI, "Sections" and "Symbol Table".
    """
    try:
        with pathlib.Path(path).open("rb") as file:
            header = file.read(64)
            if header[:6] != b"\x7fELF\x02\x01":
                return {}
            (at,) = struct.unpack_from("<Q", header, 40)
            size, count = struct.unpack_from("<2H", header, 58)
            file.seek(at)
            sections = [struct.unpack_from("<2I4Q2I", file.read(size)) for _ in range(count)]

            def content(section: Tuple[int, ...]) -> bytes:
                file.seek(section[4])
                return file.read(section[5])

            table = next(section for section in sections if section[1] == 2)  # SHT_SYMTAB
            strings, symbols = content(sections[table[6]]), content(table)
    except (OSError, struct.error, IndexError, StopIteration):
        return {}
    # A name may also be the end of another one, and have that one's place.
    places = {
        match.start(): name
        for name in names
        for match in re.finditer(re.escape(name.encode()) + b"\0", strings)
    }
    whole = symbols[: len(symbols) // 24 * 24]
    return {
        places[name]: value
        for name, _, _, _, value, _ in struct.iter_unpack("<I2BH2Q", whole)
        if name in places
    }


def sections_at_zero(path: str) -> List[str]:
    """The loaded sections of an ELF file that are linked at address 0.

    On x86_64 (until 6.15) per-CPU variables are: their addresses are offsets into each
    CPU's area, which KASLR does not move. Source: the System V ABI, "Sections".
    """
    with pathlib.Path(path).open("rb") as file:
        ident = file.read(64)
        if ident[:4] != b"\x7fELF" or ident[4:5] not in (b"\x01", b"\x02"):
            raise KdumpError("%s is no ELF file; name the dumped kernel's vmlinux" % path)
        order = "<" if ident[5:6] == b"\x01" else ">"
        wide = ident[4:5] == b"\x02"
        at = struct.unpack_from(order + ("Q" if wide else "I"), ident, 40 if wide else 32)[0]
        size, count, names = struct.unpack_from(order + "3H", ident, 58 if wide else 46)
        file.seek(at)
        headers = [
            struct.unpack_from(order + ("2I4Q" if wide else "6I"), file.read(size))
            for _ in range(count)
        ]
        if names >= count:
            return []
        file.seek(headers[names][4])
        table = file.read(headers[names][5])
    found = []
    for name, kind, flags, address, _, length in headers:
        if flags & 2 and not address and length and kind in (1, 8):  # SHF_ALLOC; a program's own
            found.append(table[name : table.index(b"\0", name)].decode("ascii", "replace"))
    return found
