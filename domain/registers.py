"""RegisterSet: the registers of one thread, each known or unavailable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kdump_gdbserver.domain.arch.model import RegisterLayout
from kdump_gdbserver.domain.errors import RegisterError


class RegisterSet:
    """Register values in one layout; a register without a value is unavailable.

    Unavailable is not zero: gdb shows `<unavailable>` for it (GDB manual,
    "Packets", `g`: a register's digits may be `x`).
    """

    __slots__ = ("_known", "_raw", "layout")

    def __init__(self, layout: RegisterLayout, raw: bytes, known: int) -> None:
        """Take the bytes of the whole layout and the bit mask of known register numbers."""
        if len(raw) != layout.size:
            raise RegisterError(f"register block has {len(raw)} bytes, not {layout.size}")
        self.layout = layout
        self._raw = raw
        self._known = known

    @classmethod
    def from_values(cls, layout: RegisterLayout, values: Mapping[str, int]) -> RegisterSet:
        """Build from gdb's register names and unsigned values.

        Raises `RegisterError` for a name not in the layout or a value that does not fit.
        """
        raw = bytearray(layout.size)
        known = 0
        slots, byte_order = layout.by_name, layout.byte_order
        for name, value in values.items():
            slot = slots.get(name)
            if slot is None:
                raise RegisterError(f"unknown register '{name}'")
            try:
                packed = value.to_bytes(slot.end - slot.offset, byte_order)
            except OverflowError:
                raise RegisterError(
                    f"value {value:#x} does not fit {slot.register.bits}-bit register '{name}'"
                ) from None
            raw[slot.offset : slot.end] = packed
            known |= 1 << slot.number
        return cls(layout, bytes(raw), known)

    @classmethod
    def unavailable(cls, layout: RegisterLayout) -> RegisterSet:
        """Return a set in which nothing is known."""
        return cls(layout, bytes(layout.size), 0)

    def __contains__(self, name: str) -> bool:
        slot = self.layout.by_name.get(name)
        return slot is not None and bool(self._known >> slot.number & 1)

    def __getitem__(self, name: str) -> int:
        """Return the unsigned value of a known register; KeyError for any other."""
        if name not in self:
            raise KeyError(name)
        slot = self.layout.by_name[name]
        return int.from_bytes(self._raw[slot.offset : slot.end], self.layout.byte_order)

    def get(self, name: str) -> int | None:
        """Return the unsigned value, or None when it is unavailable."""
        return self[name] if name in self else None

    def __iter__(self) -> Iterator[str]:
        return (s.register.name for s in self.layout.slots if self._known >> s.number & 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegisterSet):
            return NotImplemented
        return self.layout is other.layout and dict(self.items()) == dict(other.items())

    def __hash__(self) -> int:
        return hash((id(self.layout), self._known))

    def __repr__(self) -> str:
        return f"RegisterSet({', '.join(f'{name}={value:#x}' for name, value in self.items())})"

    def items(self) -> Iterator[tuple[str, int]]:
        """Iterate over the known registers in layout order."""
        return ((name, self[name]) for name in self)

    @property
    def raw(self) -> bytes:
        """All bytes of the layout; those of unavailable registers mean nothing."""
        return self._raw

    @property
    def known(self) -> int:
        """Bit mask of the numbers of the known registers."""
        return self._known

    def raw_register(self, number: int) -> bytes | None:
        """Return the bytes of register `number`, None when unavailable; IndexError if none."""
        slot = self.layout.slots[number]
        return self._raw[slot.offset : slot.end] if self._known >> number & 1 else None
