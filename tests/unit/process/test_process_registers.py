"""The user registers of a process's threads: whose they are, and in which layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kdump_gdbserver.application.process.process_registers import (
    in_layout,
    process_arch,
    process_values,
    thread_pointer,
    user_registers,
)
from kdump_gdbserver.domain.arch import AARCH64, ARM, COMPAT, I386, RISCV64, S390X, X86_64
from kdump_gdbserver.domain.arch.model import Arch, RegisterLayout
from kdump_gdbserver.domain.errors import SidecarError
from kdump_gdbserver.domain.registers import RegisterSet
from tests.unit.process.process_support import image_of, thread

USER = {"rip": 0x401000, "cs": 0x33, "rax": 1, "fs_base": 0, "gs_base": 0}
KERNEL = {"rip": 0xFFFFFFFF81000000, "cs": 0x10, "rax": 2, "fs_base": 7}
SAVED = {"rip": 0x402000, "rax": 3, "fs_base": 0x7F00}


def test_a_sleeping_thread_has_what_the_kernel_saved() -> None:
    sleeping = thread(1, SAVED, fpregs={"xmm0": 5})
    assert user_registers(X86_64, sleeping, None) == {**SAVED, "xmm0": 5}


def test_a_cpu_in_user_mode_has_the_registers_and_no_stale_ones() -> None:
    running = thread(1, SAVED, cpu=0, fpregs={"xmm0": 5})
    # The base is not in the note: 0 there means that it was not saved.
    assert user_registers(X86_64, running, USER) == {
        "rip": 0x401000,
        "cs": 0x33,
        "rax": 1,
        "fs_base": 0x7F00,
    }


def test_a_cpu_in_the_kernel_had_been_entered_with_the_saved_ones() -> None:
    running = thread(1, SAVED, cpu=0, fpregs={"xmm0": 5})
    assert user_registers(X86_64, running, KERNEL) == {**SAVED, "xmm0": 5}


@pytest.mark.parametrize(
    ("arch", "note", "is_user"),
    [
        (X86_64, {"rip": 0x1000, "cs": 0x33}, True),
        (X86_64, {"rip": 0xF7000000, "cs": 0x23}, True),
        (X86_64, {"rip": 0x1000, "cs": 0x10}, False),
        (X86_64, {"rip": 0}, False),
        (AARCH64, {"pc": 0x1000, "cpsr": 0x60000000}, True),
        (AARCH64, {"pc": 0x1000, "cpsr": 0x60000010}, True),
        (AARCH64, {"pc": 0x1000, "cpsr": 0x5}, False),
        (AARCH64, {"pc": 0x1000}, False),
        (RISCV64, {"pc": 0x1000}, True),
        (RISCV64, {"pc": 1 << 63}, False),
        (RISCV64, {}, False),
    ],
)
def test_user_mode_is_told_by_privilege(arch: object, note: dict[str, int], is_user: bool) -> None:
    assert isinstance(arch, type(X86_64))
    saved = {arch.pc: 0x99}
    found = user_registers(arch, thread(1, saved, cpu=0), note)
    assert found[arch.pc] == (note[arch.pc] if is_user else 0x99)


def layout_of(arch: Arch, threads: Sequence[Mapping[str, int]]) -> RegisterLayout:
    return arch.layout_for(name for values in threads for name in values)


def test_a_feature_is_there_when_a_thread_has_values_for_it() -> None:
    def names(arch: Arch, *threads: dict[str, int]) -> list[str]:
        return [feature.name.rpartition(".")[2] for feature in layout_of(arch, threads).features]

    assert names(I386, {"eip": 1}) == ["core", "linux"]
    assert names(I386, {"eip": 1}, {"xmm3": 1})[2:] == ["sse"]
    assert names(I386, {"ymm0h": 1})[2:] == ["sse", "avx"]
    # gdb's gcore ends in an internal error when an x86_64 target has no SSE registers.
    assert names(X86_64, {"rip": 1}) == ["core", "linux", "segments", "sse"]
    assert names(X86_64, {"rip": 1}, {"ymm0h": 1})[3:] == ["sse", "avx"]
    assert layout_of(AARCH64, [{"tpidr": 1}]) is AARCH64.layout("tls")
    assert layout_of(ARM, [{"d0": 1}]) is ARM.layout("vfp")


def test_a_32_bit_process_on_x86_64() -> None:
    kernel = {
        "rax": 0xFFFFFFFFFFFFFFDA,
        "rip": 0xF7F07559,
        "rsp": 0xFFBE07E0,
        "orig_rax": 0xFFFFFFFFFFFFFFFF,
        "r8": 5,
        "cs": 0x23,
        "gs": 0x63,
        "gs_base": 0xF7F02580,
        "eflags": 0x286,
        "st0": 1 << 79,
        "xmm7": 7,
        "xmm8": 8,
    }
    assert process_arch(X86_64, image_of(thread(1, {}), mode=32)) is I386
    layout = layout_of(I386, [kernel])
    found = RegisterSet.from_values(layout, in_layout(I386, layout, process_values(I386, kernel)))
    assert dict(found.items()) == {
        "eax": 0xFFFFFFDA,
        "esp": 0xFFBE07E0,
        "eip": 0xF7F07559,
        "eflags": 0x286,
        "cs": 0x23,
        "gs": 0x63,
        "st0": 1 << 79,
        "orig_eax": 0xFFFFFFFF,
        "xmm7": 7,
    }
    assert thread_pointer(I386, kernel) == 0xF7F02580


def test_a_32_bit_process_on_aarch64() -> None:
    kernel = {f"x{i}": 0x100 + i for i in range(31)}
    kernel |= {"sp": 0xDEAD, "pc": 0x10000, "cpsr": 0x60000010, "tpidr": 0xBEEF}
    kernel |= {f"v{i}": (0x200 + i) << 64 | 0x300 + i for i in range(32)}
    kernel |= {"fpsr": 0x8000001F, "fpcr": 0x03000000}
    values = process_values(ARM, kernel)
    layout = layout_of(ARM, [values])
    found = in_layout(ARM, layout, values)
    assert {name: found[name] for name in ("r0", "r12", "sp", "lr", "pc", "cpsr")} == {
        "r0": 0x100,
        "r12": 0x10C,
        "sp": 0x10D,
        "lr": 0x10E,
        "pc": 0x10000,
        "cpsr": 0x60000010,
    }
    assert [found[f"d{i}"] for i in (0, 1, 30, 31)] == [0x300, 0x200, 0x30F, 0x20F]
    assert found["fpscr"] == 0x8300001F
    assert len(found) == len(layout.slots)
    assert thread_pointer(ARM, values) == 0xBEEF


def test_other_kernels_have_no_32_bit_processes() -> None:
    with pytest.raises(SidecarError, match=r"p\.json: mode: 32-bit processes of riscv64"):
        process_arch(RISCV64, image_of(thread(1, {}), mode=32))


@pytest.mark.parametrize("arch", COMPAT.values(), ids=lambda arch: arch.name)
def test_compat_architectures_are_whole(arch: object) -> None:
    assert isinstance(arch, type(X86_64))
    layout = arch.layout(*arch.optional)
    assert arch.pointer_size == 4
    assert {arch.pc, arch.sp} <= set(layout.by_name)
    assert all(name in layout.by_name for name in arch.dump_names.values())
    numbers = [s.register.dwarf for s in layout.slots if s.register.dwarf is not None]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"acr0": 0x3FF, "acr1": 0xAFF7_E780}, 0x3FF_AFF7_E780),
        ({"acr0": 0, "acr1": 0x8000_0010}, 0x8000_0010),
        ({"acr0": 0, "acr1": 0}, None),
        ({"acr1": 0xAFF7_E780}, None),
    ],
)
def test_a_thread_pointer_in_two_registers(values: dict[str, int], pointer: int | None) -> None:
    """That of s390x: the upper half in access register 0, the lower in 1."""
    assert thread_pointer(S390X, values) == pointer
