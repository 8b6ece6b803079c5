"""The target description: the registers of an architecture, as XML for the debugger.

Source: GDB manual, appendix "Target Descriptions". All names come from our own declarations and
need no escaping.
"""

from __future__ import annotations

from kdump_gdbserver.domain.arch.model import (
    Arch,
    Feature,
    Flags,
    Register,
    RegisterLayout,
    TypeDefinition,
    Vector,
)


def _type(definition: TypeDefinition) -> str:
    if isinstance(definition, Flags):
        every = (*definition.numbers, *((name, bit, bit) for name, bit in definition.bits))
        fields = "".join(
            f'<field name="{name}" start="{first}" end="{last}"/>' for name, first, last in every
        )
        return f'<flags id="{definition.id}" size="{definition.size}">{fields}</flags>'
    if isinstance(definition, Vector):
        kind, count = definition.element, definition.length
        return f'<vector id="{definition.id}" type="{kind}" count="{count}"/>'
    fields = "".join(f'<field name="{n}" type="{t}"/>' for n, t in definition.fields)
    return f'<union id="{definition.id}">{fields}</union>'


def _register(register: Register) -> str:
    group = f' group="{register.group}"' if register.group else ""
    return f'<reg name="{register.name}" bitsize="{register.bits}" type="{register.type}"{group}/>'


def _feature(feature: Feature) -> str:
    parts = [_type(definition) for definition in feature.types]
    parts += [_register(register) for register in feature.registers]
    return f'<feature name="{feature.name}">\n' + "\n".join(parts) + "\n</feature>"


def target_description(arch: Arch, layout: RegisterLayout) -> bytes:
    """Return `target.xml` for a layout of an architecture."""
    features = "\n".join(_feature(feature) for feature in layout.features)
    return (
        '<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n'
        f'<target version="1.0">\n<architecture>{arch.gdb_name}</architecture>\n'
        f"<osabi>{arch.osabi}</osabi>\n{features}\n</target>\n"
    ).encode()
