"""Checks register values against an architecture, fast for ten thousand tasks."""

from __future__ import annotations

from collections.abc import Callable

from kdump_gdbserver.domain.arch.model import Arch

Complain = Callable[[str, str], Exception]
"""Makes the error for a register name and a problem."""


class RegisterChecker:
    """Turns a sidecar's registers into gdb's names and proves that the values fit.

    All tasks of one sidecar have the same few sets of names, so names are looked
    at once a set; of the values only the largest and the smallest are, as long as
    all registers of the set are equally wide.
    """

    def __init__(self, arch: Arch, *optional: str) -> None:
        """Accept the registers of `arch` and of the named optional features."""
        self._arch = arch
        self._layout = arch.layout(*optional)
        self._shapes: dict[tuple[str, ...], tuple[int, dict[str, str]]] = {}

    def check(self, values: dict[str, int], complain: Complain) -> dict[str, int]:
        """Return the values by gdb's names; raise what `complain` makes."""
        if not values:
            return values
        names = tuple(values)
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shapes[names] = self._shape(names, complain)
        limit, renamed = shape
        if limit < max(values.values()) or min(values.values()) < 0:
            self._find_misfit(values, complain)
        if not renamed:
            return values
        return self._rename(values, renamed, complain)

    def _shape(self, names: tuple[str, ...], complain: Complain) -> tuple[int, dict[str, str]]:
        # The largest value that fits every register of the set, and the other names in it.
        limit: int | None = None
        renamed: dict[str, str] = {}
        for name in names:
            known = self._known_name(name)
            if known is None:
                raise complain(name, f"{self._arch.name} has no register of that name")
            if known != name:
                renamed[name] = known
            fits = (1 << self._layout.by_name[known].register.bits) - 1
            limit = fits if limit is None else min(limit, fits)
        return limit or 0, renamed

    def _known_name(self, name: str) -> str | None:
        for candidate in (name, self._arch.gdb_register(name)):
            if candidate in self._layout.by_name:
                return candidate
        return None

    def _find_misfit(self, values: dict[str, int], complain: Complain) -> None:
        for name, value in values.items():
            if value < 0:
                raise complain(name, "register value is negative, must be unsigned")
            known = self._known_name(name)
            assert known is not None  # `_shape` has seen to it
            bits = self._layout.by_name[known].register.bits
            if value >> bits:
                problem = f"value of {value.bit_length()} bits in a register of {bits} bits"
                raise complain(name, problem)

    @staticmethod
    def _rename(
        values: dict[str, int], renamed: dict[str, str], complain: Complain
    ) -> dict[str, int]:
        result: dict[str, int] = {}
        for name, value in values.items():
            known = renamed.get(name, name)
            if result.setdefault(known, value) != value:
                raise complain(name, f"register '{known}' is there twice, with another value")
        return result
