"""x86_64: CPUs in a function for which the kernel itself has no unwind data.

objtool passes over functions marked STACK_FRAME_NON_STANDARD (include/linux/objtool.h). One of
them, `__crash_kexec`, is where every CPU that starts a crash kernel is found. A debugger would
guess there, and show junk frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.kernel.orc import OrcFormat, OrcKind, OrcRegister
from kdump_gdbserver.domain.symbols.orc import OrcRow, OrcTables, to_rows

_MOST_SYMBOLS = 64  # in a part without unwind data
_MOST_SIZE = 1 << 14  # of such a part, in bytes
_MOST_PROLOGUE = 48  # bytes
_CALL, _CALL_SIZE = 0xE8, 5
_RBP = 5  # as instructions number registers
_NOT_RSP = (0, 1, 2, 3, 5, 6, 7)
# By the first bytes of an instruction of a prologue: its size. Intel SDM, volume 2.
_PASSED_OVER = (
    (b"\xf3\x0f\x1e\xfa", 4),  # endbr64
    (b"\x66\x0f\x1f\x00", 4),  # endbr64 that the kernel has taken out, until 6.13
    (b"\x0f\x1f\x40\xd6", 4),  # and since
    (b"\x0f\x1f\x44\x00\x00", 5),  # the call of __fentry__, when nobody traces
    (b"\x66\x66\x66\x66\x90", 5),  # the same until 5.10
    *((bytes((0xB8 + register,)), 5) for register in _NOT_RSP),  # mov $number,%register
    *((bytes((0x31, 0xC0 + 9 * register)), 2) for register in _NOT_RSP),  # xor of one with itself
)


def uncovered_rows(
    memory: AddressSpace,
    symbols: KernelSymbols,
    tables: OrcTables,
    orc_format: OrcFormat,
    running: Iterable[tuple[int, int]],
) -> Iterator[OrcRow]:
    """Yield a row for each CPU (pc, sp) in kernel code that no ORC entry is for.

    What the function has pushed is read from its first instructions. It is believed if a return
    address lies on the stack after it, behind a call of that very function. Otherwise the stack
    ends there. Code without a symbol is a module's or none of the kernel's, and has no row.
    Raises as `OrcTables.slice` does.
    """
    for pc, sp in sorted(set(running)):
        part = to_rows(tables.slice(pc, pc + 1), pc - _MOST_SIZE, pc + 1, orc_format)
        if not part or part[-1].kind is not OrcKind.UNDEFINED:
            continue
        functions = _functions(symbols, part[-1].start, pc)
        proved = (_proved(memory, start, pc, sp) for start in functions)
        row = next(filter(None, proved), None)
        if functions:
            yield row or OrcRow(pc, pc + 1, OrcKind.END_OF_STACK)


def _functions(symbols: KernelSymbols, low: int, pc: int) -> list[int]:
    """Return the symbols between an address and the pc, the last one first."""
    found: list[int] = []
    at = symbols.next_symbol(low - 1)
    while at is not None and at <= pc and len(found) < _MOST_SYMBOLS:
        found.append(at)
        at = symbols.next_symbol(at)
    return found[::-1]


def _proved(memory: AddressSpace, start: int, pc: int, sp: int) -> OrcRow | None:
    try:
        pushed = _pushed(memory.read(start, min(_MOST_PROLOGUE, pc - start)))
        if pushed is None:
            return None
        size, rbp_at = pushed
        back = int.from_bytes(memory.read_exact(sp + size, 8), "little")
        call = memory.read_exact(back - _CALL_SIZE, _CALL_SIZE)
    except MemoryFault:
        return None
    target = back + int.from_bytes(call[1:], "little", signed=True)
    if call[0] != _CALL or target != start:
        return None
    cfa = size + 8
    rbp = (OrcRegister.UNDEFINED, 0)
    if rbp_at is not None:
        rbp = (OrcRegister.PREV_SP, -8 - rbp_at)
    return OrcRow(pc, pc + 1, OrcKind.CALL, OrcRegister.SP, cfa, *rbp, lost=True)


def _pushed(code: bytes) -> tuple[int, int | None] | None:
    """Return how much a prologue puts on the stack, and where rbp is in it; in bytes.

    That is counted from the return address down. None if it does not end in making room.
    """
    at, size, rbp_at = 0, 0, None
    while at < len(code):
        passed = next((n for first, n in _PASSED_OVER if code.startswith(first, at)), 0)
        if code[at] == _CALL and not size:  # __fentry__ comes before all else
            passed = _CALL_SIZE
        push = code[at + 1 : at + 2] if code[at] == 0x41 else code[at : at + 1]
        if passed:
            at += passed
        elif push and 0x50 <= push[0] < 0x58:
            size += 8
            if push[0] == 0x50 + _RBP and code[at] != 0x41:
                rbp_at = size
            at += 1 + (code[at] == 0x41)
        elif code.startswith(b"\x48\x83\xec", at):  # sub $number,%rsp
            return size + int.from_bytes(code[at + 3 : at + 4], "little", signed=True), rbp_at
        elif code.startswith(b"\x48\x81\xec", at):
            return size + int.from_bytes(code[at + 3 : at + 7], "little", signed=True), rbp_at
        elif code.startswith(b"\x48\x89\xe5", at):  # mov %rsp,%rbp
            at += 3
        else:
            return None
    return None
