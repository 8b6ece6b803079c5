"""An ELF image whose call frame information comes from ORC rows (x86_64).

Debuggers find the kernel's assembly code without any call frame information in vmlinux;
from this image they learn how to unwind it. Each ORC kind has a CIE with its rules, and
its rows only say where the CFA is.

An interrupt frame unwinds in two steps, as it would return. The assembly function's
caller is `return_from_interrupt`, an IRET instruction in the image with all registers
restored but those that IRET itself will load: from there, the CPU's five words lead on
into the interrupted function, whose pc is exact and whose stack may be another one. Both
are what debuggers know of signal frames (letter S). Or, if the saved code segment is
user mode's, the caller is `user_mode`, and there the kernel's stack ends. No debugger can
be told to end a backtrace on a condition without a frame. That frame has the user program's
registers. By a pc that the caller knows of, it stands there: the image names the two bytes that
debuggers look at. (By a name for all user addresses, every pointer into a program would be shown
with it.) At any other pc, the frame stands in the image.

A function that calls another on the interrupt stack unwinds in two steps, too: while it is
there, its caller is the function itself once it has gone back, shown as what a signal
interrupted. That stack may lie anywhere, and debuggers take any other frame that is below the
one before for damage.

Code in the user half of the address space is taken for a user program if the CPU is in
user mode; in kernel mode it is a jump gone astray, the caller of which is on the stack. At a pc
that is known for one of user mode, the stack ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kdump_gdbserver.domain.kernel.orc import OrcKind, OrcRegister
from kdump_gdbserver.domain.symbols import dwarf_cfi as cfi
from kdump_gdbserver.domain.symbols.elf_in_memory import CODE_OFFSET, Function, elf_image
from kdump_gdbserver.domain.symbols.orc import OrcRow

_EM_X86_64 = 62
# DWARF register numbers of the psABI for AMD64, figure 3.36.
_RBP, _RSP, _RETURN_ADDRESS, _RFLAGS, _CS, _SS = 6, 7, 16, 49, 51, 52
# For the registers that functions keep, but rbp: rbx, r12 to r15. Debuggers take those of which
# nothing is said for unchanged.
LOST = b"".join(cfi.undefined(register) for register in (3, 12, 13, 14, 15))
_DWARF = {
    OrcRegister.AX: 0,
    OrcRegister.DX: 1,
    OrcRegister.DI: 5,
    OrcRegister.BP: _RBP,
    OrcRegister.SP: _RSP,
    OrcRegister.R10: 10,
    OrcRegister.R13: 13,
    OrcRegister.BP_INDIRECT: _RBP,
    OrcRegister.SP_INDIRECT: _RSP,
}
# struct pt_regs (arch/x86/include/asm/ptrace.h): r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx
# dx si di, orig_ax, then the words pushed for an interrupt: ip cs flags sp ss.
_PT_REGS = (15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5)
_PT_REGS_SIZE = 21 * 8
_IRET_SIZE = 5 * 8
_IRET_WORDS = ((_RETURN_ADDRESS, -40), (_CS, -32), (_RFLAGS, -24), (_RSP, -16), (_SS, -8))
# Bytes from where an ORC row points to the CFA: the end of what lies on the stack there.
_CFA_ABOVE = {OrcKind.CALL: 0, OrcKind.REGS: _PT_REGS_SIZE, OrcKind.REGS_PARTIAL: _IRET_SIZE}

# Where user programs can be, with five levels of page tables, too; 0 has no debug info.
_USER_HALF = (1, 1 << 56)

# DWARF operations.
_ADDR, _DEREF, _CONST1U, _CONSTS, _DUP, _DROP, _AND = 0x03, 0x06, 0x08, 0x11, 0x12, 0x13, 0x1A
_MINUS, _PLUS, _SHL, _BRA, _EQ, _SKIP = 0x1C, 0x22, 0x24, 0x28, 0x29, 0x2F
_LIT0, _BREG0, _BREGX = 0x30, 0x70, 0x92

# That of the saved code segment, from the CFA.
_PRIVILEGE_LEVEL = bytes((_CONST1U, 32, _MINUS, _DEREF, _LIT0 + 3, _AND))

# The image's code. The first byte is where debuggers look that take one from a return
# address; the privilege level 0 to 3 of the saved code segment, times 16, leads from the
# IRET to `user_mode`.
_IRET_AT = 1
_CODE = b"\x90\x48\xcf".ljust(64, b"\x90")
_USER_MODE = "user_mode"
_FUNCTIONS = (Function("return_from_interrupt", 0, 8), Function(_USER_MODE, 8, 56))

# User programs' pcs that are named at most: all are compared with, one after the other.
MOST_USER_PCS = 1000


def unwind_image(
    rows: Iterable[OrcRow],
    base: int,
    user_pcs: Iterable[int] = (),
    switches: Iterable[range] = (),
) -> bytes:
    """Return the image for address `base` with the rows' call frame information.

    Rows must be in order of address and must not overlap. Those that DWARF cannot say
    are left out. `user_pcs` are where user programs were when they entered the kernel, or where
    CPUs were in user mode; more than `MOST_USER_PCS` are not looked at. `switches` are where
    functions are on another stack: each ends behind `leave`, which goes back by rbp. No row has
    them.
    """
    at, end = _USER_HALF
    known = sorted({pc for pc in user_pcs if at <= pc < end})[:MOST_USER_PCS]
    frame = cfi.EhFrame(_RETURN_ADDRESS)
    code = base + CODE_OFFSET
    interrupted = _interrupt_rules(code + _IRET_AT, known)
    unchanged = cfi.same_value(_RBP)
    cies = {
        OrcKind.CALL: frame.add_cie(cfi.saved_at(_RETURN_ADDRESS, -8) + unchanged),
        OrcKind.REGS: frame.add_cie(interrupted + _general_registers()),
        OrcKind.REGS_PARTIAL: frame.add_cie(interrupted + unchanged),
        OrcKind.END_OF_STACK: frame.add_cie(
            cfi.define_cfa(_RSP, 8) + cfi.undefined(_RETURN_ADDRESS)
        ),
    }
    words = b"".join(cfi.saved_at(register, offset) for register, offset in _IRET_WORDS)
    iret = frame.add_cie(cfi.define_cfa(_RSP, _IRET_SIZE) + words, signal_frame=True)
    for cie, function in zip((iret, cies[OrcKind.END_OF_STACK]), _FUNCTIONS, strict=True):
        start = code + function.offset
        frame.add_fde(cie, start, start + function.size, b"")
    stray = frame.add_cie(cfi.define_cfa(_RSP, 8) + _stray_rule(code + _FUNCTIONS[1].offset + 1))
    named = list(_named(known))
    for place in named:
        if at < place.start:
            frame.add_fde(stray, at, place.start, b"")
        frame.add_fde(cies[OrcKind.END_OF_STACK], place.start, place.stop, b"")
        at = place.stop
    if at < end:
        frame.add_fde(stray, at, end, b"")
    for run in _runs(rows):
        program = _program(run) + (LOST if run[0][0].lost else b"")
        frame.add_fde(cies[run[0][0].kind], run[0][0].start, run[-1][0].end, program)
    for switch in switches:
        there = bytes((_ADDR,)) + switch.stop.to_bytes(8, "little")
        rules = cfi.define_cfa(_RSP, 0) + cfi.value_is_expression(_RETURN_ADDRESS, there)
        rules += cfi.value_is_expression(_RSP, _address(_RBP, 8))
        rules += cfi.saved_at_expression(_RBP, _address(_RBP, 0))
        cie = frame.add_cie(rules, signal_frame=True)
        frame.add_fde(cie, switch.start, switch.stop, b"")
    names = [(_USER_MODE, place) for place in named]
    return elf_image(base, _EM_X86_64, _CODE, _FUNCTIONS, frame.finish(), elsewhere=names)


def _named(pcs: Sequence[int]) -> Iterator[range]:
    """Yield what debuggers look at for pcs in order: each, and the byte before (of a call)."""
    end = _USER_HALF[0]
    for pc in pcs:
        yield range(max(pc - 1, end), pc + 1)
        end = pc + 1


# A row with the instructions that say where the CFA and the caller's rbp are.
_Rules = tuple[OrcRow, bytes, bytes]


def _runs(rows: Iterable[OrcRow]) -> Iterator[list[_Rules]]:
    """Group rows that can share an FDE: adjoining ones of one kind."""
    run: list[_Rules] = []
    for row in rows:
        if run and (run[-1][0].end != row.start or run[-1][0].kind is not row.kind):
            yield run
            run = []
        try:
            run.append((row, cfa_rule(row), caller_rbp_rule(row)))
        except (ValueError, KeyError):
            if run:
                yield run
            run = []
    if run:
        yield run


def _program(run: Sequence[_Rules]) -> bytes:
    """Return the instructions of a run's FDE: what changes from row to row."""
    (first, cfa, rbp), *others = run
    restore = caller_rbp_rule(OrcRow(0, 0, OrcKind.CALL))
    program = cfa + (rbp if rbp != restore else b"")
    at = first.start
    for row, new_cfa, new_rbp in others:
        if (new_cfa, new_rbp) == (cfa, rbp):
            continue
        program += cfi.advance(row.start - at)
        program += (new_cfa if new_cfa != cfa else b"") + (new_rbp if new_rbp != rbp else b"")
        at, cfa, rbp = row.start, new_cfa, new_rbp
    return program


def cfa_rule(row: OrcRow) -> bytes:
    """Return the CFA's rule; raise `KeyError` or `ValueError` if there is no telling."""
    if row.kind is OrcKind.END_OF_STACK:
        return b""
    above, register = _CFA_ABOVE[row.kind], _DWARF[row.sp_register]
    if row.sp_register is OrcRegister.SP_INDIRECT and row.kind is OrcKind.CALL:
        # Since Linux 5.12, for calls on another stack: the offset is from what is there.
        return cfi.define_cfa_expression(_word_at(register, 0, row.sp_offset))
    if row.sp_register in (OrcRegister.SP_INDIRECT, OrcRegister.BP_INDIRECT):
        return cfi.define_cfa_expression(_word_at(register, row.sp_offset, above))
    offset = row.sp_offset + above
    if offset < 0:
        return cfi.define_cfa_expression(_address(register, offset))
    return cfi.define_cfa(register, offset)


def caller_rbp_rule(row: OrcRow) -> bytes:
    """Return the rule for the caller's rbp; raise `ValueError` if there is no telling."""
    if row.kind is OrcKind.END_OF_STACK or row.bp_register is OrcRegister.UNDEFINED:
        return cfi.restore(_RBP)
    if row.bp_register is OrcRegister.PREV_SP:
        return cfi.saved_at(_RBP, row.bp_offset - _CFA_ABOVE[row.kind])
    if row.bp_register is OrcRegister.BP:
        return cfi.saved_at_expression(_RBP, _address(_RBP, row.bp_offset))
    raise ValueError(f"rbp by {row.bp_register.name}")


def _interrupt_rules(iret: int, user_pcs: Sequence[int]) -> bytes:
    """Return the rules that lead to the IRET at `iret`, or by it to `user_mode`."""
    target = bytes((_LIT0 + 4, _SHL, _ADDR)) + iret.to_bytes(8, "little") + bytes((_PLUS,))
    in_image = _PRIVILEGE_LEVEL + target
    saved = bytes((_CONST1U, -dict(_IRET_WORDS)[_RETURN_ADDRESS], _MINUS, _DEREF))
    # From the last comparison back: what is left to do when none before was true.
    otherwise = bytes((_DROP,)) + in_image
    for pc in reversed(user_pcs):
        equal = bytes((_DUP, _ADDR)) + pc.to_bytes(8, "little") + bytes((_EQ,))
        otherwise = equal + _branch(_BRA, len(otherwise)) + otherwise
    by_pc = bytes((_DUP,)) + saved + otherwise
    kernel = in_image + _branch(_SKIP, len(by_pc))
    rule = bytes((_DUP,)) + _PRIVILEGE_LEVEL + _branch(_BRA, len(kernel)) + kernel + by_pc
    rules = cfi.value_is_expression(_RETURN_ADDRESS, rule if user_pcs else in_image)
    # At the IRET the stack pointer is where the words are; in user mode all is as it was there.
    rules += _if_from_user_mode(_RSP, bytes((_CONST1U, _IRET_SIZE, _MINUS)))
    for register in (_RFLAGS, _CS, _SS):
        unchanged = bytes((_DROP, _BREGX)) + cfi.uleb(register) + cfi.sleb(0)
        rules += _if_from_user_mode(register, unchanged)
    return rules


def _if_from_user_mode(register: int, otherwise: bytes) -> bytes:
    """Return the rule: what was saved of a register of user mode, else what `otherwise` says."""
    saved = bytes((_CONST1U, -dict(_IRET_WORDS)[register], _MINUS, _DEREF))
    skip = _branch(_SKIP, len(saved))
    branch = _branch(_BRA, len(otherwise + skip))
    test = bytes((_DUP,)) + _PRIVILEGE_LEVEL
    return cfi.value_is_expression(register, test + branch + otherwise + skip + saved)


def _stray_rule(user_mode: int) -> bytes:
    """Return the rule: in user mode the caller is `user_mode`, else it is at CFA - 8."""
    at_user_mode = bytes((_ADDR,)) + user_mode.to_bytes(8, "little")
    on_stack = bytes((_LIT0 + 8, _MINUS, _DEREF))
    skip = _branch(_SKIP, len(at_user_mode))
    branch = _branch(_BRA, len(on_stack + skip))
    test = bytes((_BREGX,)) + cfi.uleb(_CS) + cfi.sleb(0) + bytes((_LIT0 + 3, _AND))
    return cfi.value_is_expression(_RETURN_ADDRESS, test + branch + on_stack + skip + at_user_mode)


def _branch(operation: int, over: int) -> bytes:
    """Return a branch over so many bytes: they count from the end of its own three."""
    return bytes((operation,)) + over.to_bytes(2, "little")


def _general_registers() -> bytes:
    """Return the rules for what a struct pt_regs has below the CPU's five words."""
    return b"".join(
        cfi.saved_at(register, 8 * index - _PT_REGS_SIZE) for index, register in enumerate(_PT_REGS)
    )


def _address(register: int, offset: int) -> bytes:
    return bytes((_BREG0 + register,)) + cfi.sleb(offset)


def _word_at(register: int, offset: int, added: int) -> bytes:
    """Return an expression: the word at register + offset, and something added to it."""
    return _address(register, offset) + bytes((_DEREF, _CONSTS)) + cfi.sleb(added) + bytes((_PLUS,))
