"""KernelSymbols: kallsyms first, then the symbol file, then nothing; never an exception."""

from __future__ import annotations

import pytest

from kdump_gdbserver.application.kernel.kernel_symbols import WANTED, KernelSymbols
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, X86_64, Arch
from tests.support.fake_dump import FakeSymbolFile
from tests.support.fake_kernel import FakeKernel, fake_kernel

every_arch = pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
TABLES = ("names", "num_syms", "token_table", "token_index", "offsets", "relative_base")


def symbols_of(kernel: FakeKernel, file: FakeSymbolFile | None = None) -> KernelSymbols:
    dump = kernel.dump()
    return KernelSymbols(
        DumpMemory(dump).kernel(),
        dump.vmcoreinfo,
        kernel.arch.byte_order,
        file.symbols if file else None,
    )


def expected_of(kernel: FakeKernel) -> dict[str, int]:
    names = (*WANTED, "_stext")
    return {name: kernel.symbols[name] for name in names if name in kernel.symbols}


@every_arch
@pytest.mark.parametrize("percpu", [True, False], ids=["absolute_percpu", "plain"])
@pytest.mark.parametrize("compress", [True, False], ids=["compressed", "one-char"])
def test_wanted_symbols_come_from_the_dumps_own_table(
    arch: Arch, percpu: bool, compress: bool
) -> None:
    kernel = fake_kernel(
        arch, panic_cpu=1, crashing_cpu=1, absolute_percpu=percpu, compress=compress
    )
    symbols = symbols_of(kernel)
    assert symbols.source == "kallsyms"
    assert expected_of(kernel) == dict(symbols.addresses)


@every_arch
def test_ints_and_struct_members_are_read(arch: Arch) -> None:
    symbols = symbols_of(fake_kernel(arch, panic_cpu=-1, possible=6))
    assert (symbols.read_int("nr_cpu_ids"), symbols.read_int("panic_cpu")) == (6, -1)
    assert symbols.member_offsets("task_struct") == {"pid": 0x4E8, "comm": 0x7A0}
    assert symbols.member_offsets("no_such_struct") == {}
    assert symbols.read_int("no_such_symbol") is None


def test_the_symbol_file_is_not_asked_when_the_dump_knows() -> None:
    file = FakeSymbolFile({"panic_cpu": 0x1234})
    assert symbols_of(fake_kernel(), file).source == "kallsyms"
    assert file.asked == 0


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_leads_to_the_symbol_file(table: str) -> None:
    kernel = fake_kernel(panic_cpu=2)
    file = FakeSymbolFile(kernel.symbols)
    for broken in (
        kernel.without(f"kallsyms_{table}"),
        kernel.with_vmcoreinfo(lambda text: text.replace(f"(kallsyms_{table})", "(gone)")),
    ):
        symbols = symbols_of(broken, file)
        assert symbols.source == "symbol file"
        assert kernel.symbols["panic_cpu"] == symbols.addresses["panic_cpu"]
        assert symbols.read_int("panic_cpu") == 2
        nothing = symbols_of(broken)
        assert (nothing.source, dict(nothing.addresses)) == ("none", {})
        assert nothing.read_int("panic_cpu") is None
        assert nothing.member_offsets("task_struct") == {}


def test_a_table_of_another_kernel_is_not_believed() -> None:
    kernel = fake_kernel()
    moved = kernel.with_vmcoreinfo(
        lambda text: text.replace(f"(_stext)={kernel.symbols['_stext']:x}", "(_stext)=ffffffff8")
    )
    assert symbols_of(moved).source == "none"


def test_a_monstrous_symbol_count_is_not_followed() -> None:
    kernel = fake_kernel().with_bytes("kallsyms_num_syms", b"\xff\xff\xff\x7f")
    assert symbols_of(kernel).source == "none"


@pytest.mark.parametrize("damage", [b"\0\0", b"\xff" * 24])
def test_damaged_btf_has_no_members(damage: bytes) -> None:
    assert symbols_of(fake_kernel().with_bytes("btf", damage)).member_offsets("task_struct") == {}


def test_a_type_section_with_its_end_before_its_start_has_no_members() -> None:
    kernel = fake_kernel(AARCH64)
    backwards = {"__start_BTF": kernel.symbols["__stop_BTF"], "__stop_BTF": 0}
    file = FakeSymbolFile(backwards)
    symbols = symbols_of(kernel.without("kallsyms_names"), file)
    assert symbols.member_offsets("task_struct") == {}


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
    assert expected_of(kernel) == dict(symbols_of(moved).addresses)
