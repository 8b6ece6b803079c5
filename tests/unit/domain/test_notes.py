"""ELF notes: what was written is read, and no area of bytes gives more than it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.cpu_notes import prstatus_notes
from kdump_gdbserver.domain.kernel.notes import Note, find_build_id, parse_notes
from tests.support.note_writer import note

ORDERS: list[ByteOrder] = ["little", "big"]
orders = st.sampled_from(ORDERS)
written = st.lists(
    st.builds(
        Note,
        st.binary(max_size=9).filter(lambda name: not name.endswith(b"\0")),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
    ),
    max_size=6,
)


@given(written, orders)
def test_notes_are_read_as_they_were_written(notes: list[Note], order: ByteOrder) -> None:
    area = b"".join(note(*each, byte_order=order) for each in notes)
    assert list(parse_notes(area, order)) == [each for each in notes if each[0] or each[2]]


@given(written, st.data(), orders)
def test_of_an_area_that_is_cut_the_whole_notes_are_read(
    notes: list[Note], data: st.DataObject, order: ByteOrder
) -> None:
    whole = [note(*each, byte_order=order) for each in notes]
    area = b"".join(whole)
    cut = data.draw(st.integers(0, len(area)))
    found = list(parse_notes(area[:cut], order))
    everything = [each for each in notes if each.name or each.descriptor]
    assert found == everything[: len(found)]
    inside = [
        each
        for number, each in enumerate(notes)
        if (each.name or each.descriptor) and sum(map(len, whole[: number + 1])) <= cut
    ]
    assert found[: len(inside)] == inside


@given(st.binary(max_size=400), orders)
def test_of_bytes_at_random_no_more_is_read_than_there_is(area: bytes, order: ByteOrder) -> None:
    found = list(parse_notes(area, order))
    assert sum(12 + len(each.name) + len(each.descriptor) for each in found) <= len(area)
    for each in found:
        assert each.name in area
        assert each.descriptor in area


@pytest.mark.parametrize("order", ORDERS)
def test_the_build_id_is_found_among_other_notes(order: ByteOrder) -> None:
    build_id = bytes(range(20))
    others = note(b"Xen", 3, b"odd", order) + note(b"GNU", 1, bytes(16), order)
    area = others + note(b"GNU", 3, b"", order) + note(b"GNU", 3, build_id, order)
    assert find_build_id(area, order) == build_id.hex()
    assert find_build_id(others, order) is None


def test_a_build_id_that_is_cut_is_none() -> None:
    area = note(b"GNU", 3, bytes(range(20)))
    assert [find_build_id(area[:end], "little") for end in range(len(area))] == [None] * len(area)


def test_registers_are_in_prstatus_notes_of_the_name_core() -> None:
    area = b"".join(
        (note(b"CORE", 1, b"first"), note(b"CORE", 2, b"x"), note(b"QEMU", 1, b"y")),
    ) + note(b"CORE", 1, b"second")
    assert prstatus_notes(parse_notes(area)) == [b"first", b"second"]
