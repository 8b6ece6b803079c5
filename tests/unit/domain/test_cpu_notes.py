"""The CPUs' notes: general registers, and those of floating point where they are there."""

from __future__ import annotations

import pytest

from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.domain.arch import AARCH64
from kdump_gdbserver.domain.cpu_notes import NT_FPREGSET, NT_PRSTATUS, cpu_notes
from kdump_gdbserver.domain.kernel.notes import Note

VECTORS = [0x0123456789ABCDEF << 64 | number for number in range(32)]
FLOATS = b"".join(v.to_bytes(16, "little") for v in VECTORS) + b"\x11\0\0\0\x22\0\0\0".ljust(
    16, b"\0"
)


def status(pid: int) -> Note:
    assert AARCH64.prstatus is not None
    raw = bytearray(AARCH64.prstatus.size)
    raw[32:36] = pid.to_bytes(4, "little")
    return Note(b"CORE", NT_PRSTATUS, bytes(raw))


def test_floating_point_registers_are_the_notes() -> None:
    found = cpu_notes([status(1), Note(b"CORE", NT_FPREGSET, FLOATS)], AARCH64)
    assert found is not None
    [cpu] = found
    assert [cpu.registers[f"v{number}"] for number in range(32)] == VECTORS
    assert (cpu.registers["fpsr"], cpu.registers["fpcr"]) == (0x11, 0x22)
    assert cpu.registers["pc"] == 0


@pytest.mark.parametrize(
    "others",
    [
        [],
        [Note(b"CORE", NT_FPREGSET, FLOATS[:-1])],
        [Note(b"CORE", NT_FPREGSET, FLOATS)] * 2,
        [Note(b"LINUX", NT_FPREGSET, FLOATS)],
    ],
)
def test_others_are_not_taken_for_them(others: list[Note]) -> None:
    found = cpu_notes([status(1), *others], AARCH64)
    assert found is not None
    assert "v0" not in found[0].registers


@pytest.mark.parametrize(
    ("form", "machine", "pids", "by_qemu"),
    [
        ("kdump", None, [1, 2, 3], True),
        ("kdump", None, [1, 0], False),
        ("kdump", "aarch64", [1], False),
        ("elf", None, [1], False),
        ("kdump", None, [], False),
    ],
)
def test_a_kdump_file_of_qemu_without_its_note(
    form: str, machine: str | None, pids: list[int], by_qemu: bool
) -> None:
    header = FileHeader(form, machine=machine, notes=[status(pid) for pid in pids])
    assert header.from_qemu is by_qemu
