"""The kernel's VMCOREINFO in physical memory: found, proved, or not believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.cli.console import warnings_about
from kdump_gdbserver.domain.address_space import AddressSpace, SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, RISCV64, X86_64, Arch
from kdump_gdbserver.domain.vmcoreinfo_search import SEARCHED, find_vmcoreinfo
from tests.support.page_table_writer import (
    Paging,
    TableWriter,
    aarch64_paging,
    riscv64_paging,
    x86_64_paging,
)
from tests.unit.kdumpfile.vmcore_builder import Segment, elf_core, prstatus

RAM, SIZE = 0x4000_0000, 0x40_0000
TABLE, NAMES, TEXT = RAM + 0x10_0000, RAM + 0x20_0000, RAM + 0x30_0000
SHIFT = 0xFFFF_FFFF_4000_0000  # what is added to a physical address
ROOT_AT = TABLE + SHIFT
RELEASE = "6.6.0-made"


def info_of(arch: Arch, **changed: str) -> bytes:
    lines = {
        "OSRELEASE": RELEASE,
        "PAGESIZE": "4096",
        "SYMBOL(init_uts_ns)": f"{NAMES + SHIFT:x}",
        "SYMBOL(swapper_pg_dir)": f"{ROOT_AT:x}",
        "KERNELOFFSET": "0",
    }
    lines |= {
        "x86_64": {"SYMBOL(init_top_pgt)": f"{ROOT_AT:x}", "NUMBER(phys_base)": f"{RAM:d}",
                   "NUMBER(pgtable_l5_enabled)": "0"},
        "aarch64": {"NUMBER(kimage_voffset)": f"{SHIFT:#x}", "NUMBER(VA_BITS)": "48"},
        "riscv64": {"NUMBER(va_kernel_pa_offset)": f"{SHIFT:#x}", "NUMBER(VA_BITS)": "48"},
    }[arch.name]  # fmt: skip
    lines |= changed
    return "".join(f"{key}={value}\n" for key, value in lines.items()).encode()


def machine(arch: Arch, texts: dict[int, bytes], uts: bytes = b"") -> dict[int, bytes]:
    """Return a machine's memory: page tables, names, and what begins like VMCOREINFO."""
    make: dict[str, Callable[..., Paging]] = {
        "x86_64": x86_64_paging, "riscv64": riscv64_paging,
        "aarch64": lambda: aarch64_paging(4096, 48),
    }  # fmt: skip
    writer = TableWriter(make[arch.name](), TABLE, TABLE + 0x1000)
    for at in range(RAM, RAM + SIZE, 4096):
        writer.map(at + SHIFT, at)
    memory = bytearray(SIZE)
    names = uts or b"Linux".ljust(65, b"\0") + b"host".ljust(65, b"\0") + RELEASE.encode()
    for at, data in {**writer.segments, NAMES + 4: names, **texts}.items():
        memory[at - RAM : at - RAM + len(data)] = data
    return {RAM: bytes(memory)}


def found(memory: dict[int, bytes], arch: Arch) -> int | None:
    space = SegmentedAddressSpace(memory)
    result = find_vmcoreinfo(space, [(at, at + len(data)) for at, data in memory.items()], arch)
    return None if result is None else result.address


every_arch = pytest.mark.parametrize("arch", (X86_64, AARCH64, RISCV64), ids=lambda arch: arch.name)


@every_arch
def test_it_is_found_among_others_that_are_not_this_kernels(arch: Arch) -> None:
    text = info_of(arch)
    others = {
        TEXT - 0x8000: info_of(arch, OSRELEASE="6.5.0-other"),
        TEXT - 0x6000: text.replace(b"swapper_pg_dir", b"swapper").replace(b"top_pgt", b"t"),
        TEXT - 0x4000 + 8: text,
        TEXT - 0x2000: b"OSRELEASE=",
    }
    assert found(machine(arch, {**others, TEXT: text}), arch) == TEXT
    assert found(machine(arch, others), arch) is None


@every_arch
@pytest.mark.parametrize(
    "change",
    [
        {"SYMBOL(init_uts_ns)": f"{NAMES + SHIFT + 0x1000:x}"},
        {"SYMBOL(init_uts_ns)": "10"},
        {"SYMBOL(init_uts_ns)": "x"},
        {"OSRELEASE": ""},
        {"OSRELEASE": RELEASE[:-1]},
    ],
)
def test_what_its_own_kernel_does_not_bear_out_is_not_believed(
    arch: Arch, change: dict[str, str]
) -> None:
    assert found(machine(arch, {TEXT: info_of(arch, **change)}), arch) is None


def test_a_root_table_that_is_mapped_elsewhere_proves_nothing() -> None:
    memory = machine(AARCH64, {TEXT: info_of(AARCH64)})
    moved = info_of(AARCH64, **{"NUMBER(kimage_voffset)": f"{SHIFT - 0x1000:#x}"})
    assert found(memory, AARCH64) == TEXT
    assert found(machine(AARCH64, {TEXT: moved}), AARCH64) is None


class Zeros(AddressSpace):
    """Terabytes of memory in which there is nothing, and how much of it was read."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self._zeros = bytes(4 << 20)

    def read(self, address: int, length: int) -> bytes:
        self.read_bytes += length
        return self._zeros[:length]


def test_the_search_ends() -> None:
    memory = Zeros()
    assert find_vmcoreinfo(memory, [(0, 1 << 44), (1 << 45, 1 << 46)], X86_64) is None
    assert memory.read_bytes <= SEARCHED + (4 << 20)


def test_memory_full_of_what_looks_like_it_takes_bounded_time() -> None:
    page = info_of(AARCH64, OSRELEASE="6.5.0-other").ljust(4096, b"\0")
    memory = machine(AARCH64, {TEXT: page * 200})
    started = time.thread_time()
    assert found(memory, AARCH64) is None
    assert time.thread_time() - started < 2


def test_a_dump_that_does_not_carry_it_opens_as_if_it_did(tmp_path: Path) -> None:
    memory = machine(AARCH64, {TEXT: info_of(AARCH64)})[RAM]
    registers = {f"x{n}": n for n in range(31)} | {"sp": 1, "pc": ROOT_AT, "cpsr": 5}
    notes = prstatus(1, registers, [*registers])
    segment = Segment(RAM, memory, RAM + SHIFT)
    path = tmp_path / "vmcore"
    path.write_bytes(elf_core([segment], notes, machine=AARCH64.elf_machine))
    dump = KdumpfileOpener().open([str(path)])
    assert dump.facts.vmcoreinfo_at == TEXT
    assert (dump.facts.release, dump.vmcoreinfo.release) == (RELEASE, RELEASE)
    assert DumpMemory(dump).kernel().read(NAMES + 4 + SHIFT, 5) == b"Linux"
    (warning,) = warnings_about(dump, None, None)
    assert "does not carry VMCOREINFO; the kernel's own was found" in warning
    dump.close()
