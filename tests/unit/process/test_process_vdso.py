"""The vDSO's pages from the kernel's image, when it is certain that they are the same."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import cast

import pytest

from kdump_gdbserver.application.kernel.cpus import Cpu
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols
from kdump_gdbserver.application.kernel.panic_cpu import PanicCpu
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.process.vdso import VdsoPages, find_vdso
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, ARM, I386, X86_64, Arch
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma
from tests.support.fake_dump import FakeDump
from tests.unit.process.process_support import PAGE, Pages

IMAGE_AT, STRUCT_AT, MAPPED_AT = 0xFFFFFFFF82001000, 0xFFFFFFFF82000000, 0x7FFF_0000_0000
VMA = Vma(MAPPED_AT, MAPPED_AT + 2 * PAGE, "r-xp", path="[vdso]")


def image(bits: int = 64) -> bytes:
    return (b"\x7fELF" + bytes([bits // 32])).ljust(PAGE, b"v") + b"w" * PAGE


def survey(content: bytes, symbols: dict[str, int], size: int = 2 * PAGE) -> KernelSurvey:
    memory = SegmentedAddressSpace(
        {STRUCT_AT: struct.pack("<QQ", IMAGE_AT, size), IMAGE_AT: content}
    )
    found = cast(KernelSymbols, SimpleNamespace(symbol=symbols.get))
    unused = DumpMemory(FakeDump())
    return KernelSurvey(unused, memory, found, [Cpu(0, None, {})], PanicCpu(0, ""))


@pytest.mark.parametrize(
    ("kernel", "process", "symbols"),
    [
        (X86_64, X86_64, {"vdso_image_64": STRUCT_AT}),
        (X86_64, I386, {"vdso_image_32": STRUCT_AT}),
        (AARCH64, AARCH64, {"vdso_start": IMAGE_AT, "vdso_end": IMAGE_AT + 2 * PAGE}),
    ],
    ids=["x86_64", "i386", "aarch64"],
)
def test_pages_never_used_come_from_the_kernel(
    kernel: Arch, process: Arch, symbols: dict[str, int]
) -> None:
    content = image(8 * process.pointer_size)
    pages = find_vdso(
        survey(content, symbols), kernel, process, VMA, Pages({MAPPED_AT: content[:PAGE]})
    )
    assert pages is not None
    fault = MemoryFault(MAPPED_AT, FaultReason.UNMAPPED)
    assert pages.supply(VMA, MAPPED_AT + PAGE, 10, fault) == b"w" * 10
    with pytest.raises(MemoryFault):
        pages.supply(VMA, MAPPED_AT + 2 * PAGE, 10, fault)


@pytest.mark.parametrize(
    ("content", "resident", "size", "symbols"),
    [
        (image(), b"x" * PAGE, 2 * PAGE, {"vdso_image_64": STRUCT_AT}),
        (image(32), b"", 2 * PAGE, {"vdso_image_64": STRUCT_AT}),
        (image(), b"", 3 * PAGE, {"vdso_image_64": STRUCT_AT}),
        (image()[:PAGE], b"", 2 * PAGE, {"vdso_image_64": STRUCT_AT}),
        (image(), b"", 2 * PAGE, {"vdso_image_64": 0x1000}),
        (image(), b"", 2 * PAGE, {"vdso_image_32": STRUCT_AT}),
        (image(), b"", 2 * PAGE, {}),
    ],
    ids=["differs", "other class", "too long", "cut", "no struct", "other symbol", "no symbol"],
)
def test_what_is_not_certain_is_not_taken(
    content: bytes, resident: bytes, size: int, symbols: dict[str, int]
) -> None:
    memory = Pages({MAPPED_AT: resident} if resident else {})
    assert find_vdso(survey(content, symbols, size), X86_64, X86_64, VMA, memory) is None


def test_arm_has_none_in_a_known_place() -> None:
    symbols = {"vdso_start": IMAGE_AT, "vdso_end": IMAGE_AT + 2 * PAGE}
    assert find_vdso(survey(image(32), symbols), AARCH64, ARM, VMA, Pages({})) is None
    assert VdsoPages(b"ab").supply(VMA, MAPPED_AT, 9, MemoryFault(0, FaultReason.IO)) == b"ab"
