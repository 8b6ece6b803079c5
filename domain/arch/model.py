"""How an architecture is declared: registers, target-description features, layouts."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from kdump_gdbserver.domain.address_space import ByteOrder


@dataclass(frozen=True, slots=True)
class Flags:
    """A flags type of a target description (GDB manual, "Target Description Format").

    `bits` maps a flag's name to its bit number; `size` is in bytes.
    """

    id: str
    size: int
    bits: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector type: `count` elements of the type named `element`."""

    id: str
    element: str
    count: int


@dataclass(frozen=True, slots=True)
class Union:
    """A union type: field name to type name."""

    id: str
    fields: tuple[tuple[str, str], ...]


TypeDefinition = Flags | Vector | Union


@dataclass(frozen=True, slots=True)
class Register:
    """One register as gdb knows it; `bits` is its width, `type` gdb's type name.

    `group` is gdb's register group where it is not the default. `dwarf` is the
    number of the psABI's DWARF mapping, where it has one; `role` names what LLDB
    calls a generic register: pc, sp, fp, ra, flags or argN.
    """

    name: str
    bits: int
    type: str = "int"
    group: str | None = None
    dwarf: int | None = None
    role: str | None = None

    @property
    def size(self) -> int:
        """Width in bytes, as it stands in a `g` packet."""
        return self.bits // 8


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a target description: a named, ordered group of registers.

    Names and the registers each must have are fixed by the GDB manual, appendix
    "Standard Target Features".
    """

    name: str
    registers: tuple[Register, ...]
    types: tuple[TypeDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a register lies in a layout: its number, and the bytes from `offset` to `end`."""

    register: Register
    number: int
    offset: int
    end: int


class RegisterLayout:
    """The registers of one view, numbered and laid out as in a `g` packet.

    gdb numbers registers in the order in which the target description names
    them, so the order of `features` is the layout.
    """

    def __init__(self, features: tuple[Feature, ...], byte_order: ByteOrder) -> None:
        self.features = features
        self.byte_order: ByteOrder = byte_order
        slots: list[Slot] = []
        offset = 0
        for feature in features:
            for register in feature.registers:
                end = offset + register.size
                slots.append(Slot(register, len(slots), offset, end))
                offset = end
        self.slots = tuple(slots)
        self.size = offset
        self.by_name: Mapping[str, Slot] = {slot.register.name: slot for slot in slots}
        if len(self.by_name) != len(slots):
            raise ValueError("two registers of one layout have the same name")


@dataclass(frozen=True, eq=False)
class Arch:
    """One architecture of a dumped kernel, declared as data.

    `name` is the kernel's (`uname -m`) name, `gdb_name` the one gdb's target
    descriptions use, `pointer_size` is in bytes. `features` are always there;
    `optional` ones (floating point, vectors) only in views that have their values.
    `dump_names` maps names used by dumps and sidecars to gdb's. `vmcoreinfo_marks`
    are VMCOREINFO keys that no other architecture writes. `entry_flags` are the flags of a
    page-table entry: name and bit. `image_base` is what the kernel's linker script takes off
    its virtual addresses to make load addresses of them.
    """

    name: str
    gdb_name: str
    pointer_size: int
    features: tuple[Feature, ...]
    pc: str
    sp: str
    elf_machine: int
    byte_order: ByteOrder = "little"
    osabi: str = "GNU/Linux"
    optional: Mapping[str, Feature] = field(default_factory=dict)
    dump_names: Mapping[str, str] = field(default_factory=dict)
    vmcoreinfo_marks: tuple[str, ...] = ()
    triple: str = ""
    entry_flags: tuple[tuple[str, int], ...] = ()
    image_base: int = 0
    _layouts: dict[tuple[str, ...], RegisterLayout] = field(default_factory=dict, repr=False)

    def layout(self, *optional: str) -> RegisterLayout:
        """Return the layout with the named optional features; KeyError for unknown ones."""
        if optional not in self._layouts:
            features = self.features + tuple(self.optional[name] for name in optional)
            self._layouts[optional] = RegisterLayout(features, self.byte_order)
        return self._layouts[optional]

    @functools.cached_property
    def pointer_mask(self) -> int:
        """The largest address."""
        return (1 << (8 * self.pointer_size)) - 1

    def gdb_register(self, name: str) -> str:
        """Return gdb's name of a register that a dump or a sidecar calls `name`."""
        return self.dump_names.get(name, name)
