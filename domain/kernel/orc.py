"""The kernel's own unwind tables for x86_64 (ORC), and what they say about a frame.

Source: arch/x86/include/asm/orc_types.h, arch/x86/kernel/unwind_orc.c, from Linux 4.14 on.
"""

import enum
import struct
from typing import Dict, Iterable, List, Optional, Tuple

from .errors import KdumpError
from .memory import Memory

ROW = struct.Struct("<hhH")  # sp_offset, bp_offset, flags
# A hash of the tables' definition in the kernel's source (scripts/orc_hash.sh), since 6.4.
HEADER = ("__start_orc_header", "__stop_orc_header")
HEADER_SIZE = 20


class OrcRegister(enum.IntEnum):
    """Where sp or bp is counted from (ORC_REG_*), numbered as since 7.1.

    UNDEFINED: unknown; for bp: unchanged.
    """

    UNDEFINED = 0
    AX = 1
    DX = 2
    SP = 3
    BP = 4
    DI = 5
    R10 = 6
    R13 = 7
    PREV_SP = 8
    SP_INDIRECT = 9
    BP_INDIRECT = 10


_REGISTERS = tuple(OrcRegister)
_REGISTERS_UNTIL_7_0 = (
    OrcRegister.UNDEFINED,
    OrcRegister.PREV_SP,
    OrcRegister.DX,
    OrcRegister.DI,
    OrcRegister.BP,
    OrcRegister.SP,
    OrcRegister.R10,
    OrcRegister.R13,
    OrcRegister.BP_INDIRECT,
    OrcRegister.SP_INDIRECT,
)


class OrcKind(enum.Enum):
    """What the stack holds where a row points (ORC_TYPE_*).

    CALL: a return address just below; REGS: a struct pt_regs; REGS_PARTIAL: the five words that the
    CPU pushes for an interrupt. UNDEFINED: unknown. END_OF_STACK: no caller.
    """

    UNDEFINED = 0
    END_OF_STACK = 1
    CALL = 2
    REGS = 3
    REGS_PARTIAL = 4


_KINDS = {0: OrcKind.CALL, 1: OrcKind.REGS, 2: OrcKind.REGS_PARTIAL}


class OrcFormat(enum.Enum):
    """How the 16 bits of flags are laid out, after 4 bits each for the registers of sp and bp.

    END: type:2, end:1 (Linux 4.14 to 6.2). SIGNAL_END: type:2, signal:1, end:1 (6.3).
    TYPES: type:3, signal:1 (since 6.4). RENUMBERED: the same with other numbers for registers
    (since 7.1). Distributions move these changes to older releases.
    """

    END = 1
    SIGNAL_END = 2
    TYPES = 3
    RENUMBERED = 4

    @property
    def registers(self) -> Tuple[OrcRegister, ...]:
        """The registers in the order of their numbers."""
        return _REGISTERS if self is OrcFormat.RENUMBERED else _REGISTERS_UNTIL_7_0

    def sp_register(self, flags: int) -> Optional[OrcRegister]:
        """Return what sp is counted from, None for an unknown number."""
        return self._register(flags & 0xF)

    def bp_register(self, flags: int) -> Optional[OrcRegister]:
        """Return what bp is counted from, None for an unknown number."""
        return self._register(flags >> 4 & 0xF)

    def _register(self, number: int) -> Optional[OrcRegister]:
        return self.registers[number] if number < len(self.registers) else None

    def kind(self, flags: int) -> Optional[OrcKind]:
        """Return what these flags mean, or None if they do not fit this format."""
        known_sp = bool(flags & 0xF)
        if self in (OrcFormat.TYPES, OrcFormat.RENUMBERED):
            kind = _KINDS.get((flags >> 8 & 7) - 2)
            if known_sp:
                return kind if flags < 1 << 12 else None
            return {0: OrcKind.UNDEFINED, 1: OrcKind.END_OF_STACK}.get(flags >> 8)
        end = 1 << 10 if self is OrcFormat.END else 1 << 11
        if known_sp:
            return _KINDS.get(flags >> 8 & 3) if flags < end else None
        return {0: OrcKind.UNDEFINED, end: OrcKind.END_OF_STACK}.get(flags)


# The hashes that scripts/orc_hash.sh gives for Linux 6.3, 6.4 and 7.1.
_BY_HEADER = {
    bytes.fromhex("db84aed4103b31dd51e017f8f79783ca985c2c51"): OrcFormat.SIGNAL_END,
    bytes.fromhex("fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24"): OrcFormat.TYPES,
    bytes.fromhex("137c36ad7627c4dd55932176bb0ecdbd5041fc82"): OrcFormat.RENUMBERED,
}
_WITHOUT_HEADER = (OrcFormat.END, OrcFormat.SIGNAL_END, OrcFormat.TYPES)


def format_by_header(header: bytes) -> OrcFormat:
    """Return the format that the kernel's ORC header names; ValueError for an unknown one."""
    if header not in _BY_HEADER:
        raise ValueError("ORC tables of an unknown format, %s" % header.hex())
    return _BY_HEADER[header]


def recognize_format(all_flags: Iterable[int]) -> OrcFormat:
    """Return the only format that all flags fit; ValueError if there is none, or several.

    For kernels without a header. Entry code leaves no doubt, since it has both ends of stacks and
    calls.
    """
    different = set(all_flags)
    fitting = [f for f in _WITHOUT_HEADER if all(f.kind(flags) is not None for flags in different)]
    if len(fitting) != 1:
        raise ValueError("ORC entries fit %d formats" % len(fitting))
    return fitting[0]


class Orc:
    """The tables, for looking up one frame after another.

    One table has a 32-bit offset for each row, from the offset's own place to the first address
    that the row is for; the other table has the rows.
    """

    ENTRY_TEXT = ("__entry_text_start", "__entry_text_end")
    NAMES = ("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind")
    FUNCTION = "unwind_next_frame"  # is in every kernel that has tables

    def __init__(self, memory: Memory, addresses: Dict[str, int]) -> None:
        """Take the addresses of NAMES, and of ENTRY_TEXT or of HEADER; KdumpError."""
        self.memory = memory
        self.ips, stop, self.rows = (addresses[name] for name in self.NAMES)
        self.count = (stop - self.ips) // 4
        try:
            if HEADER[0] in addresses:
                self.format = format_by_header(memory.fetch(addresses[HEADER[0]], HEADER_SIZE))
            else:
                low, high = (addresses[name] for name in self.ENTRY_TEXT)
                self.format = recognize_format(self._flags(low, high))
        except (ValueError, KeyError) as error:
            raise KdumpError("no ORC tables: %s" % error) from None

    def row(self, pc: int) -> Tuple[int, int, int]:
        """(sp_offset, bp_offset, flags) for an address; Unreadable."""
        place = self._place(pc)
        if place < 0:
            raise KdumpError("no unwind data for 0x%x" % pc)
        return ROW.unpack(self.memory.fetch(self.rows + ROW.size * place, ROW.size))

    def _place(self, pc: int) -> int:
        """The number of the row for an address, -1 if there is none."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = self.ips + 4 * middle
            (offset,) = struct.unpack("<i", self.memory.fetch(at, 4))
            if at + offset <= pc:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def _flags(self, low: int, high: int) -> List[int]:
        first = max(self._place(low), 0)
        count = min(self._place(high - 1) - first + 1, 1 << 16)
        raw = self.memory.fetch(self.rows + ROW.size * first, ROW.size * max(count, 0))
        return [flags for _, _, flags in ROW.iter_unpack(raw)]

    def caller(self, pc: int, sp: int, bp: Optional[int]) -> Optional[Dict[str, int]]:
        """The caller's registers, for a function that put its stack pointer where `sp` points.

        None for a function that did not. Registers that are not in the result are unknown; that may
        include `bp`. KdumpError.
        """
        sp_offset, bp_offset, flags = self.row(pc)
        if self.format.kind(flags) is not OrcKind.CALL:
            return None
        before = self.memory.integer(sp, 8)
        base = self.format.sp_register(flags)
        # asm_call_on_stack() of 5.8 to 5.11 has it in rbp as well.
        if base is not OrcRegister.SP_INDIRECT and not (base is OrcRegister.BP and before == bp):
            return None
        return self._caller(before + sp_offset, bp_offset, flags, bp)

    def plain_caller(self, pc: int, sp: int, bp: Optional[int]) -> Optional[Dict[str, int]]:
        """The caller's registers, for a function on the stack that it was called on.

        `pc` is a return address. Otherwise as `caller()`.
        """
        sp_offset, bp_offset, flags = self.row(pc - 1)
        if self.format.kind(flags) is not OrcKind.CALL:
            return None
        base = self.format.sp_register(flags)
        start = sp if base is OrcRegister.SP else bp if base is OrcRegister.BP else None
        return None if start is None else self._caller(start + sp_offset, bp_offset, flags, bp)

    def _caller(self, top: int, bp_offset: int, flags: int, bp: Optional[int]) -> Dict[str, int]:
        found = {"rsp": top, "rip": self.memory.integer(top - 8, 8)}
        base = self.format.bp_register(flags)
        if base is OrcRegister.PREV_SP:
            found["rbp"] = self.memory.integer(top + bp_offset, 8)
        elif base is OrcRegister.UNDEFINED and bp is not None:
            found["rbp"] = bp
        elif base is OrcRegister.BP and bp is not None:
            found["rbp"] = self.memory.integer(bp + bp_offset, 8)
        return found

    def saved(self, pc: int) -> Optional[int]:
        """How far above the stack pointer entry code, which returns to `pc`, has a pt_regs."""
        sp_offset, _, flags = self.row(pc - 1)
        is_regs = self.format.kind(flags) is OrcKind.REGS
        return sp_offset if is_regs and self.format.sp_register(flags) is OrcRegister.SP else None
