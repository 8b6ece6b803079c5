"""How the arm64 kernel's entry code is left, by what its own instructions say.

Sources: arch/arm64/kernel/entry.S and head.S; instructions from the Arm ARM, C6.2. Each offset
is that of an instruction which stores there, so a kernel of another form has no rule here, and
never a wrong one.
"""

import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import MemoryFault
from .frames import EntryCode, FrameRange, FrameRule, KernelCode

_KINDS = ("sync", "irq", "fiq", "error")
# From the kernel itself, and from user mode (since 5.13; the older names are 5.12's).
_FROM_KERNEL = tuple(f"el1{stack}_64_{kind}" for stack in "th" for kind in _KINDS)
_FROM_USER = tuple(f"el0t_{bits}_{kind}" for bits in (64, 32) for kind in _KINDS)
# Where a stack begins: a kernel thread's, an idle task's, the first task's.
_FIRST = ("ret_from_fork", "__secondary_switched", "__primary_switched")
_SWITCH, _RETURN, _VECTORS = "call_on_irq_stack", "ret_to_kernel", "vectors"
_NAMES = (*_FROM_KERNEL, *_FROM_USER, *_FIRST, _SWITCH, _RETURN, _VECTORS)

_LONGEST = 128  # instructions of one function that are looked at
_MOST_BYTES = 1 << 16  # of a function that begins a stack
_SLOTS, _SLOT = 16, 0x80  # of the vectors: Arm ARM, D1.10.2
_FIRST_FROM_USER = 8

_PUSH_FRAME, _SET_FRAME = 0xA9BF7BFD, 0x910003FD  # stp x29, x30, [sp, #-16]!; mov x29, sp
_SET_STACK, _POP_FRAME = 0x910003BF, 0xA8C17BFD  # mov sp, x29; ldp x29, x30, [sp], #16
_READ_PC = 0xD5384020  # mrs x0, elr_el1
_FRAME, _LINK, _STACK, _PC = 29, 30, 31, 32

# DWARF operations (DWARF 5, 7.7.1).
_DEREF, _CONST8U, _OR, _BRA, _EQ = 0x06, 0x0E, 0x21, 0x28, 0x29
_NE, _SKIP, _LIT0, _BREG0, _BREGX = 0x2E, 0x2F, 0x30, 0x70, 0x92

_OUTERMOST = FrameRule(outermost=True)
# Where gdb 13 takes a signed return address of the kernel to: all bits of the code are cleared.
# They were set, but for bit 55 that is set still. No address of either half is here.
SIGNED = (1 << 55, 1 << 56)


class _Saved(NamedTuple):
    """What lies above the stack pointer: the `size` of struct pt_regs, and offsets in it."""

    size: int
    registers: Tuple[Tuple[str, int], ...]


def entry_ranges(code: KernelCode) -> List[FrameRange]:
    """Return the rules for the entry code that is there."""
    found: List[FrameRange] = []
    symbols = code.symbols
    mask = code.vmcoreinfo.number("KERNELPACMASK") or 0
    saved = None
    for name in _FROM_KERNEL:
        if name in symbols:
            saved = _exception(code, symbols[name], found) or saved
    if saved is not None and _RETURN in symbols:
        found.append(_return(symbols[_RETURN], saved))
    for name in _FROM_USER:
        if name in symbols:
            end = _last_branch(_words(code, symbols[name]))
            if end is not None:
                found.append(FrameRange(symbols[name], symbols[name] + 4 * end + 4, _OUTERMOST))
    for name in _FIRST:
        end = code.next_symbol(symbols[name]) if name in symbols else None
        if end is not None and symbols[name] < end <= symbols[name] + _MOST_BYTES:
            found.append(FrameRange(symbols[name], end, _OUTERMOST))
    if _SWITCH in symbols:
        found += _stack_switch(symbols[_SWITCH], _words(code, symbols[_SWITCH]))
    if _VECTORS in symbols and saved is not None:
        found += _vectors(code, symbols[_VECTORS], saved.size, mask)
    if mask:
        found.append(_signed(mask))
    return list(_disjoint(found))


def _disjoint(ranges: List[FrameRange]) -> Iterator[FrameRange]:
    end = 0
    for one in sorted(ranges):
        if end <= one.start < one.end:
            yield one
            end = one.end


def _words(code: KernelCode, address: int) -> Sequence[int]:
    """Return the instructions at an address, as many as can be read."""
    try:
        raw = code.memory.read(address, 4 * _LONGEST)
    except MemoryFault:
        return ()
    return struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4])


def _is_call(word: int) -> bool:
    return word >> 26 == 0x25  # bl


def _is_branch(word: int) -> bool:
    return word >> 26 == 0x05  # b


def _target(address: int, word: int) -> int:
    offset = (word & 0x3FFFFFF) << 2
    return address + offset - (1 << 28 if offset >> 27 else 0)


def _last_branch(words: Sequence[int]) -> Optional[int]:
    """Return the place of the branch that follows the call of a handler."""
    call = next((at for at, word in enumerate(words) if _is_call(word)), None)
    if call is None or call + 1 >= len(words) or not _is_branch(words[call + 1]):
        return None
    return call + 1


def _exception(code: KernelCode, start: int, found: List[FrameRange]) -> Optional[_Saved]:
    """Add the rules for an exception's entry from the kernel: kernel_entry, call, branch.

    Once all is stored, the caller is ret_to_kernel, as if the handler had returned: from there
    what was interrupted goes on.
    """
    words = _words(code, start)
    end, back = _last_branch(words), code.symbols.get(_RETURN)
    if end is None or back is None or _target(start + 4 * end, words[end]) != back:
        return None
    saved, stored = _stores(words[: end - 1])
    if saved is None:
        return None
    rule = FrameRule("sp", saved.size, caller=back + 4)
    found.append(FrameRange(start + 4 * stored, start + 4 * end + 4, rule))
    return saved


def _return(start: int, saved: _Saved) -> FrameRange:
    """Return the rule for where the registers are about to be restored.

    The first instruction masks interrupts. Debuggers look up to the byte before a pc, so the
    frame's pc is the second one's.
    """
    registers = tuple((name, offset - saved.size) for name, offset in saved.registers)
    return FrameRange(start, start + 8, FrameRule("sp", saved.size, registers, interrupted=True))


def _stores(words: Sequence[int]) -> Tuple[Optional[_Saved], int]:
    """Return what kernel_entry stores above sp, and the place after its last instruction.

    The instructions are followed: which registers still have what was in them, which have the
    interrupted pc, or (a number) are so far above sp. None unless all of that is stored.
    """
    holds: Dict[int, str] = {number: f"x{number}" for number in range(31)}
    size = stored = 0
    places: Dict[str, int] = {}
    for at, word in enumerate(words):
        target = word & 0x1F
        if word & 0xFFC003FF == 0xD10003FF:  # sub sp, sp: the offsets are no more the same
            return None, 0
        if word & 0xFFC003E0 == 0xA90003E0:  # stp of 64 bits at sp + offset
            for held, where in _stored(word, holds):
                what = "sp" if held.isdigit() else held
                size = int(held) if held.isdigit() else size
                if what not in places:
                    places[what], stored = where, at + 1
        elif word & 0xFFC003E0 == 0x910003E0 and target != _STACK:  # add, sp + number
            holds[target] = str(word >> 10 & 0xFFF)
        elif word & ~0x1F == _READ_PC:
            holds[target] = "pc"
        else:
            holds.pop(target, None)
    wanted = {*(f"x{number}" for number in range(31)), "sp", "pc"}
    # A frame record has x29 and the pc, too; what counts is where all registers are together.
    if wanted - places.keys():
        return None, 0
    block = {f"x{number}": 8 * number for number in range(31)}
    if any(places[name] != where for name, where in block.items() if name != "x29"):
        return None, 0
    last = max(places["sp"], places["pc"])
    if size < last + 8 or size % 16:
        return None, 0
    return _Saved(size, tuple(sorted(places.items(), key=lambda item: item[1]))), stored


def _stored(word: int, holds: Dict[int, str]) -> Iterator[Tuple[str, int]]:
    """Yield what an stp stores that is known, and its offset from sp."""
    offset = (word >> 15 & 0x3F) * 8 - (word >> 21 & 1) * 512
    for number, where in ((word & 0x1F, offset), (word >> 10 & 0x1F, offset + 8)):
        if number in holds and where >= 0:
            yield holds[number], where


def _stack_switch(start: int, words: Sequence[int]) -> Iterator[FrameRange]:
    """Yield the rules for the function that calls another on the interrupt stack.

    While it does, the frame is on that stack; its caller is the function itself once it has
    gone back (mov sp, x29), and from there the frame record leads on. So no frame lies beyond
    its caller's, which debuggers take for a damaged stack.
    """
    places = []
    at = 0
    for wanted in (_PUSH_FRAME, _SET_FRAME, None, _SET_STACK, _POP_FRAME):
        while at < len(words) and words[at] != wanted:
            if wanted is None and words[at] & 0xFFFFFC1F == 0xD63F0000:  # blr
                break
            at += 1
        if at >= len(words):
            return
        places.append(at)
    _, framed, call, back, popped = (start + 4 * place for place in places)
    on_record = FrameRule("x29", 16, (("x29", -16), ("x30", -8)), return_register="x30")
    yield FrameRange(framed + 4, call, on_record)
    changed = FrameRule("sp", 0, moved=(("sp", "x29", 0),), caller=back + 4, interrupted=True)
    yield FrameRange(call, back + 4, changed)
    yield FrameRange(back + 4, popped + 4, on_record)


def _signed(mask: int) -> FrameRange:
    """Return the rule for what gdb 13 makes of signed return addresses: all else stays."""
    meant = bytes((_BREGX, _PC, 0, _CONST8U)) + mask.to_bytes(8, "little") + bytes((_OR,))
    return FrameRange(*SIGNED, FrameRule("sp", 0, caller_by=meant), name="signed_return_address")


def _vectors(code: KernelCode, start: int, size: int, mask: int) -> Iterator[FrameRange]:
    """Yield the rules for the first instruction of each vector, where an emulator stops a CPU.

    The interrupted pc is in a register that no dump has. But sp and x30 are the interrupted
    function's: if sp is at a frame record, and x30 is not what that has, then x30 leads into the
    record's function. Else nothing is known. Each slot makes room for the registers, and in the
    end leaves for its entry code.
    """
    targets = {
        code.symbols[name]: name for name in (*_FROM_KERNEL, *_FROM_USER) if name in code.symbols
    }
    for slot in range(_SLOTS):
        at = start + slot * _SLOT
        words = _words(code, at)[: _SLOT // 4]
        leaves = [place for place, word in enumerate(words) if _is_branch(word)]
        names = {targets.get(_target(at + 4 * place, words[place])) for place in leaves} - {None}
        if not names or len(words) < _SLOT // 4:
            continue
        if names <= set(_FROM_USER):
            if slot >= _FIRST_FROM_USER:
                yield FrameRange(at, at + _SLOT, _OUTERMOST)
        elif words[0] == 0xD10003FF | size << 10:  # sub sp, sp, #size
            yield FrameRange(at, at + 4, FrameRule("sp", 0, caller_by=_link(0, mask)))
            moved = (("sp", "sp", size),)
            after = FrameRule("sp", size, moved=moved, caller_by=_link(size, mask))
            yield FrameRange(at + 4, at + 8, after)


def _link(above: int, mask: int) -> bytes:
    """Return the expression: x30 if sp + above is at a frame record of another address, else 0."""
    record = bytes((_BREG0 + _FRAME, 0, _BREG0 + _STACK)) + _sleb(above) + bytes((_NE,))
    link = bytes((_BREG0 + _LINK, 0))
    same = link + bytes((_BREG0 + _FRAME, 8, _DEREF, _EQ))
    value = link + bytes((_CONST8U,)) + mask.to_bytes(8, "little") + bytes((_OR,))
    skip = bytes((_SKIP, 1, 0))
    second = same + bytes((_BRA,)) + (len(value) + len(skip)).to_bytes(2, "little")
    first = record + bytes((_BRA,)) + (len(second + value + skip)).to_bytes(2, "little")
    return first + second + value + skip + bytes((_LIT0,))


def _sleb(value: int) -> bytes:
    """Return a number of at most 13 bits, zero or above, as signed LEB128."""
    return bytes((value & 0x7F | 0x80, value >> 7)) if value >= 0x40 else bytes((value,))


ENTRY = EntryCode(_NAMES, entry_ranges)
