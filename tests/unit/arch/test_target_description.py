"""The target description says in XML what the register layout says in Python."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from kdump_gdbserver.adapters.rsp_tcp.wire.target_description import target_description
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, COMPAT, Arch
from kdump_gdbserver.domain.arch.model import Flags, Union, Vector
from tests.support.sessions import Debugger, view_of

every_arch = pytest.mark.parametrize(
    "arch", (*ARCHITECTURES.values(), *COMPAT.values()), ids=lambda arch: arch.name
)
# GDB manual, "Predefined Target Types".
PREDEFINED = frozenset(
    "bool int8 int16 int32 int64 int128 uint8 uint16 uint32 uint64 uint128 code_ptr data_ptr "
    "ieee_half ieee_single ieee_double bfloat16 arm_fpa_ext i387_ext int float".split()
)


@every_arch
@pytest.mark.parametrize("with_optional", [False, True])
def test_registers_read_back_are_the_layouts(arch: Arch, with_optional: bool) -> None:
    layout = arch.layout(*arch.optional) if with_optional else arch.layout()
    target = ET.fromstring(target_description(arch, layout))
    assert (target.tag, target.get("version")) == ("target", "1.0")
    assert (arch.gdb_name, arch.osabi) == (
        target.findtext("architecture"),
        target.findtext("osabi"),
    )
    assert [feature.name for feature in layout.features] == [
        feature.get("name") for feature in target.findall("feature")
    ]
    expected = [
        (s.register.name, str(s.register.bits), s.register.type, s.register.group)
        for s in layout.slots
    ]
    found = [
        (reg.get("name"), reg.get("bitsize"), reg.get("type"), reg.get("group"))
        for reg in target.iter("reg")
    ]
    assert expected == found
    assert not [reg for reg in target.iter("reg") if reg.get("regnum")]  # in order, from 0


@every_arch
def test_types_read_back_are_the_declared_ones(arch: Arch) -> None:
    layout = arch.layout(*arch.optional)
    target = ET.fromstring(target_description(arch, layout))
    for feature, element in zip(layout.features, target.findall("feature"), strict=True):
        known = set(PREDEFINED)
        types = [child for child in element if child.tag != "reg"]
        assert list(element)[: len(types)] == types  # types come before registers
        for definition, child in zip(feature.types, types, strict=True):
            assert definition.id == child.get("id")
            fields = [(f.get("name"), f.get("start") or f.get("type")) for f in child]
            match definition:
                case Flags():
                    assert ("flags", str(definition.size)) == (child.tag, child.get("size"))
                    bits = [(name, bit, bit) for name, bit in definition.bits]
                    assert [(n, str(i), str(j)) for n, i, j in (*definition.numbers, *bits)] == [
                        (f.get("name"), f.get("start"), f.get("end")) for f in child
                    ]
                case Vector():
                    assert child.tag == "vector"
                    assert (definition.element, str(definition.length)) == (
                        child.get("type"),
                        child.get("count"),
                    )
                    assert definition.element in known
                case Union():
                    assert child.tag == "union"
                    assert list(definition.fields) == fields
                    assert {kind for _, kind in definition.fields} <= known
            known.add(definition.id)
        assert {reg.get("type") for reg in element.iter("reg")} <= known


def test_the_exception_level_is_a_number() -> None:
    """0x80400005 is EL1h: two bits of one field, no flags of their own."""
    target = ET.fromstring(target_description(AARCH64, AARCH64.layout()))
    fields = {f.get("name"): (f.get("start"), f.get("end")) for f in target.iter("field")}
    assert fields["EL"] == ("2", "3")
    assert fields["SP"] == ("0", "0")


@every_arch
@pytest.mark.parametrize("chunk", [1, 100, 0x1000, 0xFFFFFF])
def test_a_client_gets_it_in_slices(arch: Arch, chunk: int) -> None:
    debugger = Debugger(view_of(arch=arch))
    document = debugger.object(b"features", b"target.xml", chunk)
    assert target_description(arch, arch.layout()) == document
