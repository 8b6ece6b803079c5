"""Vmcoreinfo: the note's lines, by key and by kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

TEXT = b"""OSRELEASE=6.1.0-18-amd64
BUILD-ID=0C1FEE
PAGESIZE=4096
SYMBOL(init_uts_ns)=ffffffff8290a9c0
SYMBOL(_stext)=ffffffff81000000
OFFSET(list_head.next)=0
OFFSET(page.flags)=8
SIZE(page)=64
LENGTH(zone.free_area)=11
NUMBER(phys_base)=-12582912
NUMBER(KERNEL_IMAGE_SIZE)=0x40000000
KERNELOFFSET=1e000000
CRASHTIME=1700000000
no equals sign here
EMPTY=
"""
INFO = Vmcoreinfo.parse(TEXT + b"\0" * 7)


def test_each_kind_of_line_is_read_in_its_own_base() -> None:
    assert INFO.symbol("init_uts_ns") == 0xFFFFFFFF8290A9C0
    assert (INFO.offset("list_head.next"), INFO.offset("page.flags")) == (0, 8)
    assert (INFO.size("page"), INFO.length("zone.free_area")) == (64, 11)
    assert (INFO.number("phys_base"), INFO.number("KERNEL_IMAGE_SIZE")) == (-12582912, 0x40000000)
    assert (INFO.kaslr_offset, INFO.crash_time, INFO.page_size) == (0x1E000000, 1700000000, 4096)
    assert (INFO.release, INFO.build_id) == ("6.1.0-18-amd64", "0c1fee")
    assert INFO.untagged("SYMBOL") == {
        "init_uts_ns": "ffffffff8290a9c0",
        "_stext": "ffffffff81000000",
    }
    assert INFO.lines["EMPTY"] == ""


def test_what_is_not_there_is_none() -> None:
    nothing = Vmcoreinfo({})
    answers = [
        nothing.symbol("x"), nothing.number("x"), nothing.size("x"), nothing.offset("x"),
        nothing.length("x"), nothing.kaslr_offset, nothing.release, nothing.build_id,
        nothing.crash_time, nothing.page_size,
    ]  # fmt: skip
    assert [None] * len(answers) == answers
    assert nothing.untagged("SYMBOL") == {}


@pytest.mark.parametrize("raw", [b"", b"\0\0\0", b"no line of the kind\n", b"=no key"])
def test_a_note_without_lines_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError, match="KEY=VALUE"):
        Vmcoreinfo.parse(raw)


@given(st.binary(max_size=200))
def test_any_bytes_give_lines_or_an_input_error(raw: bytes) -> None:
    try:
        info = Vmcoreinfo.parse(raw + b"\nSYMBOL(" + raw[:9] + b")=" + raw[9:])
    except InputError:
        return
    assert info.lines
    for key in info.lines:
        # Whatever stands there: a number, or None.
        for ask in (info.symbol, info.number, info.size, info.offset, info.length):
            assert isinstance(ask(key.partition("(")[2].rstrip(")")), int | None)


@given(
    st.dictionaries(
        st.text("ABCDEFxyz_().0123", min_size=1),
        st.text("0123abcdef=x-. ").map(str.strip),
        min_size=1,
    )
)
def test_lines_survive_being_written_and_read(lines: dict[str, str]) -> None:
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    assert lines == Vmcoreinfo.parse(text.encode()).lines


@pytest.mark.parametrize("value", ["", "zz", "0xg", "9" * 5000])
def test_a_value_that_is_no_number_is_none(value: str) -> None:
    info = Vmcoreinfo({"PAGESIZE": value, "SYMBOL(x)": value + "q"})
    assert info.page_size is None
    assert info.symbol("x") is None
