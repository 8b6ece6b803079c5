"""Machine: unwinds by call frame information as a debugger does, over memory made up."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from elftools.dwarf.callframe import FDE, RegisterRule
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.elf.elffile import ELFFile

RETURN_ADDRESS, RSP = 16, 7
_MASK = (1 << 64) - 1


@dataclass
class Machine:
    """Registers by DWARF number; memory has a word of its own at every address."""

    registers: dict[int, int]
    words: dict[int, int] = field(default_factory=dict)

    def word(self, address: int) -> int:
        address &= _MASK
        return self.words.get(address, address * 0x9E3779B97F4A7C15 >> 3 & _MASK)


@dataclass(frozen=True)
class Caller:
    """What a frame unwinds to: registers, the CFA; `pc` is None at the end of the stack."""

    registers: Mapping[int, int]
    cfa: int
    pc: int | None
    signal_frame: bool


class UnwindTable:
    """The FDEs of an image."""

    def __init__(self, image: bytes) -> None:
        self.elf = ELFFile(io.BytesIO(image))
        self._dwarf = self.elf.get_dwarf_info()
        self.fdes = [each for each in self._dwarf.EH_CFI_entries() if isinstance(each, FDE)]

    def fde_at(self, pc: int) -> FDE | None:
        """Return the FDE for an address; there must not be two."""
        found = [
            fde for fde in self.fdes if 0 <= pc - fde["initial_location"] < fde["address_range"]
        ]
        assert len(found) < 2
        return found[0] if found else None

    def unwind(
        self,
        pc: int,
        machine: Machine,
        *,
        pc_column: int = RETURN_ADDRESS,
        sp_column: int | None = RSP,
    ) -> Caller | None:
        """Unwind a frame at `pc`; None when there is nothing about it.

        The stack pointer, if it has a column, is the CFA where no rule says otherwise.
        """
        fde = self.fde_at(pc)
        if fde is None:
            return None
        row = [row for row in fde.get_decoded().table if row["pc"] <= pc][-1]
        rule = row["cfa"]
        if rule.expr is not None:
            cfa = self._evaluate(rule.expr, machine, [])
        else:
            cfa = machine.registers[rule.reg] + rule.offset & _MASK
        registers = dict(machine.registers)
        if sp_column is not None:
            registers[sp_column] = cfa
        pc_rule = row[pc_column]
        for register, each in row.items():
            if isinstance(register, int) and each.type != RegisterRule.UNDEFINED:
                registers[register] = self._value(each, register, cfa, machine)
        ended = pc_rule.type == RegisterRule.UNDEFINED
        caller = None if ended else registers.pop(pc_column)
        assert fde.cie is not None
        return Caller(registers, cfa, caller, b"S" in fde.cie["augmentation"])

    def _value(self, rule: RegisterRule, register: int, cfa: int, machine: Machine) -> int:
        if rule.type == RegisterRule.SAME_VALUE:
            return machine.registers[register]
        if rule.type in (RegisterRule.OFFSET, RegisterRule.VAL_OFFSET):
            assert isinstance(rule.arg, int)
            value = cfa + rule.arg & _MASK
            return machine.word(value) if rule.type == RegisterRule.OFFSET else value
        assert isinstance(rule.arg, list)
        value = self._evaluate(rule.arg, machine, [cfa])
        return machine.word(value) if rule.type == RegisterRule.EXPRESSION else value

    def _evaluate(self, expression: list[int], machine: Machine, stack: list[int]) -> int:
        operations = DWARFExprParser(self._dwarf.structs).parse_expr(expression)
        at = {operation.offset: number for number, operation in enumerate(operations)}
        at[len(expression)] = len(operations)
        number = 0
        while number < len(operations):
            operation = operations[number]
            number += 1
            name, args = operation.op_name.removeprefix("DW_OP_"), operation.args
            if name.startswith("breg"):
                register, offset = args if name == "bregx" else (int(name[4:]), args[0])
                stack.append(machine.registers[register] + offset & _MASK)
            elif name.startswith("lit"):
                stack.append(int(name[3:]))
            elif name in ("addr", "const1u", "const8u", "consts"):
                stack.append(args[0] & _MASK)
            elif name == "dup":
                stack.append(stack[-1])
            elif name == "drop":
                stack.pop()
            elif name == "deref":
                stack.append(machine.word(stack.pop()))
            elif name in ("skip", "bra"):
                if name == "skip" or stack.pop():
                    number = at[operation.offset + 3 + args[0]]
            else:
                right, left = stack.pop(), stack.pop()
                compute = {"plus": left + right, "minus": left - right, "and": left & right}
                compute |= {"or": left | right, "eq": left == right, "ne": left != right}
                stack.append((left << right if name == "shl" else compute[name]) & _MASK)
        return stack[-1]
