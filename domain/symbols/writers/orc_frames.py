"""All ORC entries of an x86_64 kernel as call frame information, an .eh_frame section.

A kernel has some 400,000 entries, but only some 400 different ones: the rule of each is made
once, and so is what leads from one to another. Entries for interrupts (REGS, REGS_PARTIAL) are left
to the image of the entry code (`unwind_dso`), which knows where user programs were.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, islice

from kdump_gdbserver.domain.kernel.orc import ROW, OrcFormat, OrcKind, OrcRegister
from kdump_gdbserver.domain.symbols import dwarf_cfi as cfi
from kdump_gdbserver.domain.symbols.orc import OrcRow, to_rows
from kdump_gdbserver.domain.symbols.unwind_dso import LOST, caller_rbp_rule, cfa_rule

_RBP, _RSP, _RETURN_ADDRESS = 6, 7, 16
_FROM_HERE = 0x1B  # DW_EH_PE_pcrel | DW_EH_PE_sdata4
_FDE = struct.Struct("<IIiIB")
_ALIGNMENT = 4
# Debuggers go through an FDE from its beginning; so none is very long.
_MOST_ROWS = 1000
_NEAR = 1 << 31


@dataclass(frozen=True, slots=True)
class Frames:
    """An .eh_frame section for `address`, which may move together with the code it is for."""

    address: int
    data: bytes
    # Where code is, by start and end, that calls on another stack, in order.
    switches: tuple[tuple[int, int], ...] = ()


def orc_frames(
    starts: Sequence[int], entries: bytes, orc_format: OrcFormat, address: int
) -> Frames:
    """Return the section for an address at most 2 GiB from the code.

    `starts` are the addresses, in order, from which on the entries hold. Raises `ValueError`
    for code too far away.
    """
    if starts and not -_NEAR < starts[0] - address <= starts[-1] - address < _NEAR // 2:
        raise ValueError(f"ORC entries from {starts[0]:#x} to {starts[-1]:#x}")
    # Where functions keep other registers, ORC does not tell.
    kinds = {OrcKind.CALL: cfi.saved_at(_RETURN_ADDRESS, -8) + cfi.same_value(_RBP) + LOST}
    kinds[OrcKind.END_OF_STACK] = cfi.define_cfa(_RSP, 8) + cfi.undefined(_RETURN_ADDRESS)
    data = bytearray()
    cies = {}
    for kind, instructions in kinds.items():
        cies[kind] = len(data)
        data += _cie(instructions)
    writer = _Writer(cies, data, address)
    writer.add_all(starts, entries, orc_format)
    return Frames(address, bytes(data) + bytes(4), tuple(writer.switches))


def _cie(instructions: bytes) -> bytes:
    body = struct.pack("<IB", 0, 1) + b"zR\0" + cfi.uleb(1) + cfi.sleb(-8)
    body += bytes((_RETURN_ADDRESS, 1, _FROM_HERE)) + instructions
    body += bytes(-(4 + len(body)) % _ALIGNMENT)
    return struct.pack("<I", len(body)) + body


# A CIE, and the instructions for the CFA and for the caller's rbp.
_Rule = tuple[int, bytes, bytes]


class _Writer:
    def __init__(self, cies: dict[OrcKind, int], data: bytearray, address: int) -> None:
        self._cies = cies
        self._data = data
        self._address = address
        self._rules: list[_Rule] = []
        self._switching: set[int] = set()
        self.switches: list[tuple[int, int]] = []
        self._changes: dict[tuple[int, int], bytes] = {}
        self._advances: dict[int, bytes] = {}
        self._unchanged = caller_rbp_rule(OrcRow(0, 0, OrcKind.CALL))

    def add_all(self, starts: Sequence[int], entries: bytes, orc_format: OrcFormat) -> None:
        size = ROW.size
        keys = [entries[at : at + size] for at in range(0, size * len(starts), size)]
        numbers = {key: self._rule_number(key, orc_format) for key in set(keys)}
        # Of several for one address the last one counts.
        is_last = [*map(operator.ne, starts, islice(starts, 1, None)), True]
        rows = zip(starts, [numbers[key] for key in keys], strict=True)
        rules, changes, advances = self._rules, self._changes, self._advances
        # `before` is the rule of the row that begins at `row`; -1: no FDE is open.
        before, cie, start, row, count, at = -1, 0, 0, 0, 0, 0
        program: list[bytes] = []
        for at, now in compress(rows, is_last):
            if now == before:
                continue
            if before in self._switching:
                self.switches.append((row, at))
            if before >= 0 and (now < 0 or rules[now][0] != cie or count >= _MOST_ROWS):
                self._add_fde(cie, start, at, program)
                before = -1
            if now >= 0 and before < 0:
                cie, cfa, rbp = rules[now]
                program = [cfa, rbp if rbp != self._unchanged else b""]
                start, count = at, 0
            elif now >= 0:
                step, pair = at - row, (before, now)
                if pair not in changes:
                    changes[pair] = self._change(*pair)
                if step not in advances:
                    advances[step] = cfi.advance(step)
                program.append(advances[step])
                program.append(changes[pair])
                count += 1
            before, row = now, at
        # What the last entry holds for has no end.
        if before >= 0 and start < at:
            self._add_fde(cie, start, at, program)

    def _rule_number(self, key: bytes, orc_format: OrcFormat) -> int:
        """Return the number of an entry's rule, -1 where there is none."""
        (row,) = to_rows([(0, *ROW.unpack(key))], 0, 1, orc_format)
        if row.kind not in self._cies:
            return -1
        try:
            rule = self._cies[row.kind], cfa_rule(row), caller_rbp_rule(row)
        except (KeyError, ValueError):
            return -1
        if rule in self._rules:
            return self._rules.index(rule)
        self._rules.append(rule)
        if row.sp_register is OrcRegister.SP_INDIRECT:
            self._switching.add(len(self._rules) - 1)
        return len(self._rules) - 1

    def _change(self, before: int, now: int) -> bytes:
        (_, old_cfa, old_rbp), (_, cfa, rbp) = self._rules[before], self._rules[now]
        return (cfa if cfa != old_cfa else b"") + (rbp if rbp != old_rbp else b"")

    def _add_fde(self, cie: int, start: int, end: int, parts: list[bytes]) -> None:
        data, program = self._data, b"".join(parts)
        at = len(data)
        padding = -(_FDE.size + len(program)) % _ALIGNMENT
        length = _FDE.size - 4 + len(program) + padding
        data += _FDE.pack(length, at + 4 - cie, start - self._address - at - 8, end - start, 0)
        data += program
        data += bytes(padding)
