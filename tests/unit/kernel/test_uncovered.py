"""CPUs in functions for which the kernel has no ORC entries (x86_64)."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.uncovered import _proved, uncovered_rows
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.kernel.orc import OrcFormat, OrcKind, OrcRegister
from kdump_gdbserver.domain.symbols.orc import OrcRow

FUNCTION, CALLER, SP = 0xFFFF_FFFF_811D_38D0, 0xFFFF_FFFF_810C_5000, 0xFFFF_C900_0001_0000
PC = FUNCTION + 0x11C
# __crash_kexec of Debian's 5.10, 6.1, 6.12 and 7.3, as their dumps have it.
PROLOGUES = {
    "5.10": ("66666666 90 55 ba01000000 4881ecb0000000", 8),
    "6.1": ("0f1f440000 53 ba01000000 4881ecb0000000", None),
    "6.12": ("660f1f00 0f1f440000 53 ba01000000 4881ecb0000000", None),
    "7.3": ("0f1f40d6 0f1f440000 53 31c0 ba01000000 4881ecb0000000", None),
}
SIZE = 0xB8


def memory_of(prologue: bytes, size: int = SIZE, target: int = FUNCTION) -> SegmentedAddressSpace:
    call = b"\xe8" + struct.pack("<i", target - CALLER - 5)
    stack = bytearray(0x1000)
    struct.pack_into("<Q", stack, size, CALLER + 5)
    code = prologue.ljust(0x200, b"\x90")
    return SegmentedAddressSpace({FUNCTION: code, CALLER: call, SP: bytes(stack)})


@pytest.mark.parametrize("release", PROLOGUES)
def test_the_caller_is_where_the_prologue_says_and_a_call_proves(release: str) -> None:
    text, rbp_at = PROLOGUES[release]
    row = _proved(memory_of(bytes.fromhex(text)), FUNCTION, PC, SP)
    rbp = (OrcRegister.UNDEFINED, 0) if rbp_at is None else (OrcRegister.PREV_SP, -8 - rbp_at)
    assert row == OrcRow(PC, PC + 1, OrcKind.CALL, OrcRegister.SP, SIZE + 8, *rbp, lost=True)


@pytest.mark.parametrize("size", [0, SIZE - 8, SIZE + 8])
def test_a_return_address_elsewhere_is_no_proof(size: int) -> None:
    memory = memory_of(bytes.fromhex(PROLOGUES["6.12"][0]), size)
    assert _proved(memory, FUNCTION, PC, SP) is None


def test_a_call_of_another_function_is_no_proof() -> None:
    memory = memory_of(bytes.fromhex(PROLOGUES["6.12"][0]), target=FUNCTION + 16)
    assert _proved(memory, FUNCTION, PC, SP) is None


@given(st.binary(max_size=64), st.integers(0, 0x1FF), st.integers(0, 0x1000))
def test_any_code_gives_a_proved_row_or_none(code: bytes, into: int, above: int) -> None:
    row = _proved(memory_of(code), FUNCTION, FUNCTION + into, SP + above)
    assert row is None or row.sp_offset == SIZE + 8 - above


def test_code_without_a_symbol_is_left_to_others() -> None:
    """A module's: its own unwind data may come with the file that the user loads for it."""
    memory = memory_of(b"")
    entries = [(FUNCTION - 0x100, 0, 0, 0)]
    tables = SimpleNamespace(slice=lambda low, high: entries)
    symbols = SimpleNamespace(next_symbol=lambda address: None)
    rows = uncovered_rows(memory, symbols, tables, OrcFormat.TYPES, [(PC, SP)])  # type: ignore[arg-type]
    assert list(rows) == []
    symbols = SimpleNamespace(next_symbol=lambda at: FUNCTION if at < FUNCTION else None)
    rows = uncovered_rows(memory, symbols, tables, OrcFormat.TYPES, [(PC, SP)])  # type: ignore[arg-type]
    assert list(rows) == [OrcRow(PC, PC + 1, OrcKind.END_OF_STACK)]
