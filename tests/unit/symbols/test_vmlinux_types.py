"""A vmlinux as a source of symbols and types."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdump_gdbserver.adapters.elf_symbols import ElfSymbolFile
from kdump_gdbserver.adapters.elf_symbols.vmlinux_types import VmlinuxTypes
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.kernel.types import Member
from tests.support.btf_writer import write_btf
from tests.support.elf_writer import write_elf

TEXT = 0xFFFFFFFF81000000
KASLR = 0x1A800000
BTF = write_btf({"task_struct": {"pid": 8}})
SYMBOLS = {
    "_text": TEXT, "pcpu_text": TEXT + 0x10, "runqueues": 0x35E80, "__per_cpu_end": 0x40000,
    "__per_cpu_load": TEXT + 0x1000000, "absolute": 0x1000,
}  # fmt: skip
SECTIONS = {"_text": ".text", "pcpu_text": ".text"} | dict.fromkeys(
    ("runqueues", "__per_cpu_end", "__per_cpu_load"), ".data..percpu"
)


@pytest.fixture
def vmlinux(tmp_path: Path) -> Callable[..., str]:
    """Write a vmlinux and return its path."""

    def write(symbols: dict[str, int] = SYMBOLS, percpu: int = 0, **more: Any) -> str:
        path = tmp_path / "vmlinux"
        sections = {".text": (TEXT, b"\x90" * 16), ".data..percpu": (percpu, bytes(0x40000))}
        sections |= {f".{name}": (0, data) for name, data in more.items()}
        of_section = {name: SECTIONS[name.split("@")[0]] for name in symbols if name != "absolute"}
        path.write_bytes(write_elf(symbols, more=sections, of_section=of_section))
        return str(path)

    return write


def test_symbols_move_but_absolute_and_per_cpu_ones(vmlinux: Callable[..., str]) -> None:
    types = ElfSymbolFile(vmlinux()).types(KASLR)
    assert {name: types.symbol(name) for name in (*SYMBOLS, "text", "", "nothing")} == {
        "_text": TEXT + KASLR,
        "pcpu_text": TEXT + 0x10 + KASLR,
        "runqueues": 0x35E80,
        "__per_cpu_end": 0x40000,
        "__per_cpu_load": TEXT + 0x1000000 + KASLR,  # not in the area, though of its section
        "absolute": 0x1000,
        "text": None,  # the end of a name
        "": None,
        "nothing": None,
    }
    # Since 6.15 the per-CPU area is linked among the data.
    symbols = {**SYMBOLS, "runqueues": TEXT + 0x2000000}
    moved = ElfSymbolFile(vmlinux(symbols, percpu=TEXT + 0x2000000)).types(KASLR)
    assert moved.symbol("runqueues") == TEXT + 0x2000000 + KASLR


def test_a_name_of_two_symbols_is_left_out(vmlinux: Callable[..., str]) -> None:
    twice = {"_text@1": TEXT, "_text@2": TEXT + 8, "runqueues@1": 8, "runqueues@2": 8}
    file = ElfSymbolFile(vmlinux(twice))
    assert file.types(0).symbol("_text") is None
    assert file.types(0).symbol("runqueues") == 8


def test_types_come_from_btf_where_it_is(vmlinux: Callable[..., str]) -> None:
    path = vmlinux(BTF=BTF)
    types = ElfSymbolFile(path).types(KASLR)
    assert types.source == f"symbols from {path}, types from its BTF (3)"
    assert types.size("struct task_struct") == 16
    assert types.member("struct task_struct", "pid") == Member(8, 4)
    assert types.member("struct task_struct", "nothing") is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "has no .BTF section"),
        ({"BTF": BTF[:-1]}, "has a damaged .BTF section (BTF is cut short)"),
    ],
)
def test_without_btf_drgn_is_asked_for_dwarf(
    vmlinux: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, bytes],
    said: str,
) -> None:
    path = vmlinux(**more)
    types = ElfSymbolFile(path).types(0)
    assert types.source.startswith(f"symbols from {path}, no types: it {said}, and drgn cannot")
    assert "\n" not in types.source
    assert types.size("struct task_struct") is None
    assert types.member("struct task_struct", "pid") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ElfSymbolFile(path).types(0).source == (
        f"symbols from {path}, no types: it {said}, and drgn, to read its DWARF, is not installed"
    )


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_give_answers_or_an_input_error(
    vmlinux: Callable[..., str], data: st.DataObject
) -> None:
    path = Path(vmlinux(BTF=BTF))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    try:
        types: VmlinuxTypes = ElfSymbolFile(str(path)).types(KASLR)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert types.symbol("_text") is None or 0 <= (types.symbol("_text") or 0) < 1 << 64
    types.size("struct task_struct")
    assert "\n" not in types.source
