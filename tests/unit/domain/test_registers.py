"""RegisterSet: values go in and come out; what is not known stays unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.arch import ARCHITECTURES
from kdump_gdbserver.domain.arch.model import Feature, Register, RegisterLayout
from kdump_gdbserver.domain.errors import RegisterError
from kdump_gdbserver.domain.registers import RegisterSet
from tests.support.strategies import layouts, register_values

X86 = ARCHITECTURES["x86_64"].layout()


@given(layouts(), st.data())
def test_values_come_back_as_they_went_in(layout: RegisterLayout, data: st.DataObject) -> None:
    values = data.draw(register_values(layout))
    registers = RegisterSet.from_values(layout, values)
    assert values == dict(registers.items())
    assert set(values) == set(registers)
    for slot in layout.slots:
        name = slot.register.name
        assert values.get(name) == registers.get(name)
        assert (name in values) == (name in registers) == bool(registers.known >> slot.number & 1)
        raw = registers.raw_register(slot.number)
        if name not in values:
            assert raw is None
            with pytest.raises(KeyError):
                registers[name]
        else:
            assert values[name].to_bytes(slot.register.size, layout.byte_order) == raw
            assert raw == registers.raw[slot.offset : slot.end]


@given(layouts(), st.data())
def test_raw_and_known_make_the_same_set_again(layout: RegisterLayout, data: st.DataObject) -> None:
    registers = RegisterSet.from_values(layout, data.draw(register_values(layout)))
    again = RegisterSet(layout, registers.raw, registers.known)
    assert registers == again
    assert hash(registers) == hash(again)
    assert repr(registers) == repr(again)


def test_bytes_of_unknown_registers_do_not_matter() -> None:
    values = {"rip": 0x1234}
    sound = RegisterSet.from_values(X86, values)
    noise = bytearray(b"\xff" * X86.size)
    slot = X86.by_name["rip"]
    noise[slot.offset : slot.end] = sound.raw[slot.offset : slot.end]
    assert sound == RegisterSet(X86, bytes(noise), sound.known)


def test_values_lie_in_the_layouts_byte_order() -> None:
    feature = Feature("f", (Register("a", 32), Register("b", 16)))
    big = RegisterSet.from_values(RegisterLayout((feature,), "big"), {"a": 1, "b": 0x203})
    assert big.raw == b"\0\0\0\1\2\3"
    little = RegisterSet.from_values(RegisterLayout((feature,), "little"), {"a": 1, "b": 0x203})
    assert little.raw == b"\1\0\0\0\3\2"


def test_nothing_is_known_of_an_unavailable_set() -> None:
    nothing = RegisterSet.unavailable(X86)
    assert not dict(nothing.items())
    assert nothing.known == 0
    assert nothing.get("rip") is None
    assert nothing != RegisterSet.from_values(X86, {"rip": 0})


def test_other_things_are_not_equal() -> None:
    assert RegisterSet.unavailable(X86) != {}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"r99": 1}, "r99"),
        ({"eflags": 1 << 32}, "32-bit register 'eflags'"),
        ({"rax": -1}, "64-bit register 'rax'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values: dict[str, int], said: str) -> None:
    with pytest.raises(RegisterError, match=said):
        RegisterSet.from_values(X86, values)


def test_a_block_of_another_size_is_refused() -> None:
    with pytest.raises(RegisterError, match=f"not {X86.size}"):
        RegisterSet(X86, b"\0" * (X86.size + 1), 0)
    with pytest.raises(IndexError):
        RegisterSet.unavailable(X86).raw_register(len(X86.slots))
