"""An ELF image with the call frame information that an architecture declares for its code."""

from __future__ import annotations

from collections.abc import Iterable

from kdump_gdbserver.domain.arch.frames import FrameRange, FrameRule
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.symbols import dwarf_cfi as cfi
from kdump_gdbserver.domain.symbols.elf_in_memory import elf_image

_ADDR, _BREG0 = 0x03, 0x70


def frame_image(ranges: Iterable[FrameRange], arch: Arch, base: int) -> bytes:
    """Return the image for address `base`: an FDE for each range, a CIE for each rule.

    Raises `KeyError` for a register that has no DWARF number.
    """
    slots = arch.layout().slots
    numbers = {s.register.name: s.register.dwarf for s in slots if s.register.dwarf is not None}
    # Where the pc has no number of its own, what stands for it is the return address's register.
    for slot in slots:
        if slot.register.role == "ra" and slot.register.dwarf is not None:
            numbers.setdefault(arch.pc, slot.register.dwarf)
    frame = cfi.EhFrame(numbers[arch.pc])
    cies: dict[FrameRule, int] = {}
    names: list[tuple[str, range]] = []
    for start, end, rule, name in ranges:
        if name:
            names.append((name, range(start, end)))
        if rule not in cies:
            cies[rule] = frame.add_cie(
                _instructions(rule, arch, numbers),
                signal_frame=rule.interrupted,
                return_column=numbers[rule.return_register or arch.pc],
            )
        frame.add_fde(cies[rule], start, end, b"")
    return elf_image(base, arch.elf_machine, b"", (), frame.finish(), elsewhere=names)


def _instructions(rule: FrameRule, arch: Arch, numbers: dict[str, int]) -> bytes:
    if rule.outermost:
        return cfi.define_cfa(numbers[arch.sp], 0) + cfi.undefined(numbers[arch.pc])
    parts = [cfi.define_cfa(numbers[rule.base], rule.offset)]
    parts += [cfi.saved_at(numbers[name], offset) for name, offset in rule.saved]
    parts += [
        cfi.value_is_expression(numbers[name], _register(numbers[other], offset))
        for name, other, offset in rule.moved
    ]
    parts += [cfi.undefined(numbers[name]) for name in rule.lost]
    pc = rule.caller_by
    if rule.caller is not None:
        pc = bytes((_ADDR,)) + rule.caller.to_bytes(arch.pointer_size, arch.byte_order)
    if pc:
        parts.append(cfi.value_is_expression(numbers[arch.pc], pc))
    kept = {name for name, _ in rule.saved} | {name for name, *_ in rule.moved}
    if arch.sp not in kept and rule.base == arch.sp and rule.caller is not None:
        # The stack pointer stays; debuggers else take the CFA for the caller's.
        parts.append(cfi.value_is_expression(numbers[arch.sp], _register(numbers[arch.sp], 0)))
    return b"".join(parts)


def _register(number: int, offset: int) -> bytes:
    return bytes((_BREG0 + number,)) + cfi.sleb(offset)
