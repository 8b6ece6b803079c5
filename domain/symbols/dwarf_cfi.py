"""Writing DWARF call frame information as an .eh_frame section.

Source: the DWARF standard, version 5, section 6.4 and appendix D.6; the Linux Standard
Base, "Exception Frames", for what .eh_frame does otherwise.
"""

from __future__ import annotations

import struct

# Every saved register lies a multiple of this many bytes from the CFA.
_DATA_ALIGNMENT = -8
_ABSOLUTE_POINTERS = 0x00  # DW_EH_PE_absptr
_ALIGNMENT = 8


def uleb(value: int) -> bytes:
    """Return a number, zero or above, as unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def sleb(value: int) -> bytes:
    """Return a number as signed LEB128."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value & 0x7F))


def advance(delta: int) -> bytes:
    """Return the instruction that starts a row `delta` bytes of code further on."""
    if delta < 0x40:
        return bytes((0x40 | delta,))
    for opcode, code in ((0x02, "B"), (0x03, "<H"), (0x04, "<I")):
        if delta < 1 << 8 * struct.calcsize(code):
            return bytes((opcode,)) + struct.pack(code, delta)
    raise ValueError(f"a row of {delta} bytes of code")


def define_cfa(register: int, offset: int) -> bytes:
    """CFA = register + offset, which is zero or above."""
    return b"\x0c" + uleb(register) + uleb(offset)


def define_cfa_expression(expression: bytes) -> bytes:
    """CFA = the value of a DWARF expression."""
    return b"\x0f" + uleb(len(expression)) + expression


def saved_at(register: int, offset: int) -> bytes:
    """The caller's register lies at CFA + offset."""
    factored = _factored(offset)
    if factored >= 0 and register < 0x40:
        return bytes((0x80 | register,)) + uleb(factored)
    return b"\x11" + uleb(register) + sleb(factored)  # DW_CFA_offset_extended_sf


def saved_at_expression(register: int, expression: bytes) -> bytes:
    """The caller's register lies where a DWARF expression says."""
    return b"\x10" + uleb(register) + uleb(len(expression)) + expression


def value_is_expression(register: int, expression: bytes) -> bytes:
    """The caller's register is the value of a DWARF expression, which starts with the CFA."""
    return b"\x16" + uleb(register) + uleb(len(expression)) + expression


def undefined(register: int) -> bytes:
    """The caller's register is lost; of the return address: there is no caller."""
    return b"\x07" + uleb(register)


def same_value(register: int) -> bytes:
    """The caller's register has not been changed."""
    return b"\x08" + uleb(register)


def restore(register: int) -> bytes:
    """The rule for the register is again what the CIE says (for registers below 64)."""
    return bytes((0xC0 | register,))


def _factored(offset: int) -> int:
    factored, rest = divmod(offset, _DATA_ALIGNMENT)
    if rest:
        raise ValueError(f"offset {offset} from the CFA is no multiple of 8")
    return factored


class EhFrame:
    """An .eh_frame section under construction; addresses in it are absolute, of 8 bytes."""

    def __init__(self, return_column: int) -> None:
        """`return_column` is the number of the return address's column."""
        self._return_column = return_column
        self._data = bytearray()

    def add_cie(
        self, instructions: bytes, *, signal_frame: bool = False, return_column: int | None = None
    ) -> int:
        """Add what a group of functions has in common; return a handle for `add_fde`.

        `signal_frame`: the frame's caller was interrupted, not calling (letter S).
        `return_column`, if given, takes the place of the section's.
        """
        at = len(self._data)
        column = self._return_column if return_column is None else return_column
        augmentation = b"zRS\0" if signal_frame else b"zR\0"
        self._add(
            struct.pack("<IB", 0, 1)
            + augmentation
            + uleb(1)
            + sleb(_DATA_ALIGNMENT)
            + bytes((column, 1, _ABSOLUTE_POINTERS))
            + instructions
        )
        return at

    def add_fde(self, cie: int, start: int, end: int, instructions: bytes) -> None:
        """Add the rows for code addresses [start, end)."""
        here = len(self._data) + 4
        self._add(struct.pack("<IQQB", here - cie, start, end - start, 0) + instructions)

    def finish(self) -> bytes:
        """Return the section."""
        return bytes(self._data) + bytes(4)

    def _add(self, body: bytes) -> None:
        # Filled up with DW_CFA_nop, which is 0.
        body += bytes(-(len(self._data) + 4 + len(body)) % _ALIGNMENT)
        self._data += struct.pack("<I", len(body)) + body
