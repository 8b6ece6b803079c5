"""KernelSymbols: kallsyms first, then the symbol file, then nothing; never an exception."""

from __future__ import annotations

import pytest

from kdump_gdbserver.application.kernel.kernel_symbols import KernelSymbols, kernel_memory
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, X86_64, Arch
from kdump_gdbserver.domain.kernel.errors import Unreadable
from kdump_gdbserver.domain.kernel.types import Member
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.fake_dump import FakeSymbolFile
from tests.support.fake_kernel import NOISE, FakeKernel, fake_kernel

every_arch = pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
TABLES = ("names", "num_syms", "token_table", "token_index", "offsets", "relative_base")


def symbols_of(kernel: FakeKernel, file: FakeSymbolFile | None = None) -> KernelSymbols:
    dump = kernel.dump()
    return KernelSymbols(DumpMemory(dump).kernel(), dump.vmcoreinfo, kernel.arch, file)


@every_arch
@pytest.mark.parametrize("percpu", [True, False], ids=["absolute_percpu", "plain"])
@pytest.mark.parametrize("compress", [True, False], ids=["compressed", "one-char"])
def test_every_symbol_comes_from_the_dumps_own_table(
    arch: Arch, percpu: bool, compress: bool
) -> None:
    kernel = fake_kernel(
        arch, panic_cpu=1, crashing_cpu=1, absolute_percpu=percpu, compress=compress
    )
    symbols = symbols_of(kernel)
    assert symbols.source.startswith("symbols from the dump's kallsyms (")
    assert symbols.symbols([*kernel.symbols, "no_such_symbol"]) == kernel.symbols
    one_by_one = symbols_of(kernel)
    assert {name: one_by_one.symbol(name) for name in kernel.symbols} == kernel.symbols
    assert one_by_one.symbol("no_such_symbol") is None


@every_arch
def test_types_are_those_of_btf(arch: Arch) -> None:
    symbols = symbols_of(fake_kernel(arch))
    assert symbols.member("struct task_struct", "pid") == Member(0x4E8, 4)
    assert symbols.member("struct task_struct", "comm") == Member(0x7A0, 16, "bytes")
    assert symbols.member("struct task_struct", "tasks.next") == Member(0x400, 8, "pointer")
    assert symbols.member("struct task_struct", "no_such") is None
    assert (symbols.size("struct list_head"), symbols.size("struct no_such")) == (16, None)


def test_the_symbol_file_is_not_asked_when_the_dump_knows() -> None:
    file = FakeSymbolFile({"panic_cpu": 0x1234})
    symbols = symbols_of(fake_kernel(), file)
    assert symbols.source.startswith("symbols from the dump's kallsyms (")
    assert (symbols.symbol("panic_cpu"), symbols.symbols(["a", "b", "c", "d"])) == (None, {})
    assert symbols.size("struct list_head") == 16
    assert file.asked == 0


def linked(kernel: FakeKernel) -> dict[str, int]:
    """Return the symbols as vmlinux has them: KASLR not included."""
    offset = Vmcoreinfo.parse(kernel.vmcoreinfo.encode()).kaslr_offset or 0
    return {name: at - offset if at > 1 << 62 else at for name, at in kernel.symbols.items()}


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_leads_to_the_symbol_file(table: str) -> None:
    kernel = fake_kernel(panic_cpu=2)
    file = FakeSymbolFile(linked(kernel), first_segment=1 << 62)
    for broken in (
        kernel.without(f"kallsyms_{table}"),
        kernel.with_vmcoreinfo(lambda text: text.replace(f"(kallsyms_{table})", "(gone)")),
    ):
        symbols = symbols_of(broken, file)
        assert symbols.source.endswith("; the rest from vmlinux")
        assert symbols.symbol("panic_cpu") == kernel.symbols["panic_cpu"]
        nothing = symbols_of(broken)
        assert nothing.source.startswith("symbols from VMCOREINFO only")
        assert nothing.symbols(["panic_cpu", "_stext"]) == {"_stext": kernel.symbols["_stext"]}


def test_where_kallsyms_has_functions_alone_the_symbol_file_has_the_rest() -> None:
    kernel = fake_kernel(AARCH64, panic_cpu=2, data_symbols=False)
    assert symbols_of(kernel).symbols(kernel.symbols).keys() == {"_text", "_stext", *NOISE}
    file = FakeSymbolFile(linked(kernel), first_segment=1 << 62)
    symbols = symbols_of(kernel, file)
    assert symbols.symbols(["_stext", "panic_cpu", "no_such"]) == {
        name: kernel.symbols[name] for name in ("_stext", "panic_cpu")
    }
    assert symbols.symbol("init_task") == kernel.symbols["init_task"]
    assert symbols.symbol("nr_cpu_ids") == kernel.symbols["nr_cpu_ids"]
    assert file.asked == 1


def test_a_vmlinux_of_another_kernel_is_not_believed() -> None:
    kernel = fake_kernel(AARCH64, panic_cpu=2, data_symbols=False)
    moved = linked(kernel) | {"_stext": linked(kernel)["_stext"] + 0x10}
    for file in (
        FakeSymbolFile(moved, first_segment=1 << 62),
        FakeSymbolFile({"panic_cpu": 1 << 63}, first_segment=1 << 62),
        FakeSymbolFile(linked(kernel), first_segment=1 << 62, build_id="ab"),
    ):
        built = kernel.with_vmcoreinfo(lambda text: text + "BUILD-ID=cd\n")
        symbols = symbols_of(built, file)
        assert symbols.symbol("panic_cpu") is None
        assert symbols.source.endswith("; vmlinux is not proved to be the dumped kernel")


def test_without_vmcoreinfo_the_kernels_banner_proves_a_vmlinux() -> None:
    at = 0xFFFF_8000_0000_1000
    file = FakeSymbolFile({"linux_banner": at, "panic_cpu": at + 64})
    for banner, believed in ((b"Linux version 6.1", True), (b"Linux_version 6.1", False)):
        memory = SegmentedAddressSpace({at: banner})
        symbols = KernelSymbols(memory, Vmcoreinfo({}), AARCH64, file)
        assert (symbols.symbol("panic_cpu") is not None) is believed
    assert (
        KernelSymbols(SegmentedAddressSpace({}), Vmcoreinfo({}), AARCH64, file).symbols(
            ["panic_cpu"]
        )
        == {}
    )


def test_a_table_of_another_kernel_is_not_believed() -> None:
    kernel = fake_kernel()
    moved = kernel.with_vmcoreinfo(
        lambda text: text.replace(f"(_stext)={kernel.symbols['_stext']:x}", "(_stext)=ffffffff8")
    )
    assert symbols_of(moved).symbol("nr_cpu_ids") is None


def test_a_monstrous_symbol_count_is_not_followed() -> None:
    kernel = fake_kernel().with_bytes("kallsyms_num_syms", b"\xff\xff\xff\x7f")
    assert symbols_of(kernel).symbol("nr_cpu_ids") is None


@pytest.mark.parametrize("damage", [b"\0\0", b"\xff" * 24])
def test_damaged_btf_has_no_types(damage: bytes) -> None:
    symbols = symbols_of(fake_kernel().with_bytes("btf", damage))
    assert symbols.member("struct task_struct", "pid") is None
    assert symbols.size("struct task_struct") is None


def test_the_table_may_lie_before_or_after_its_names() -> None:
    """Until 6.3 the offsets came first, since then the names do: scripts/kallsyms.c."""
    kernel = fake_kernel(X86_64)
    where = {name: kernel.segments[f"kallsyms_{name}"] for name in TABLES}
    at = min(address for address, _ in where.values())
    segments = dict(kernel.segments)
    lines = [line for line in kernel.vmcoreinfo.splitlines() if "kallsyms" not in line]
    for name in ("num_syms", "names", "token_table", "token_index", "offsets", "relative_base"):
        segments[f"kallsyms_{name}"] = (at, where[name][1])
        lines.append(f"SYMBOL(kallsyms_{name})={at:x}")
        at += -(-len(where[name][1]) // 8) * 8
    moved = FakeKernel(
        kernel.arch, segments, kernel.symbols, "\n".join(lines), kernel.notes, kernel.hypervisor
    )
    assert symbols_of(moved).symbols(kernel.symbols) == kernel.symbols


@every_arch
def test_memory_as_the_walkers_read_it(arch: Arch) -> None:
    kernel = fake_kernel(arch)
    memory = kernel_memory(kernel.memory(), arch)
    at = kernel.symbols["nr_cpu_ids"]
    assert memory.integer(at, 4) == 4
    assert (memory.byte_order, memory.pointer_size) == (arch.byte_order, arch.pointer_size)
    with pytest.raises(Unreadable, match=rf"cannot read 4096 bytes at {at:#x}"):
        memory.fetch(at, 4096)
