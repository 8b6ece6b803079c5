"""open_kernel_view: what gdb sees of a kernel, sound or damaged."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.view import DeferredTarget, View
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, X86_64, Arch
from kdump_gdbserver.domain.errors import DumpOpenError, InputError, MemoryFault
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms
from kdump_gdbserver.ports.remote_files import RefusedError
from tests.support import damage
from tests.support.fake_dump import FakeDump, FakeSymbolFile
from tests.support.fake_kernel import FakeKernel, fake_kernel, registers_of

every_arch = pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)


@every_arch
def test_threads_are_the_cpus_in_order(arch: Arch) -> None:
    kernel = fake_kernel(arch, possible=6, online=[0, 2, 5], pids={2: 42, 5: 43}, panic_cpu=5)
    view = open_kernel_view(kernel.dump())
    assert [(tuple(thread.id), thread.extra, thread.core) for thread in view.threads] == [
        ((1, 1), "CPU #0 idle", 0),
        ((1, 2), "CPU #2 pid 42", 2),
        ((1, 3), "CPU #5 pid 43", 5),
    ]
    assert (view.threads[2], "panic_cpu") == (view.current, view.current_reason)
    for thread, cpu in zip(view.threads, [0, 2, 5], strict=True):
        assert registers_of(arch, cpu) == dict(thread.registers.items())
    assert (arch, arch.layout()) == (view.arch, view.layout)


@pytest.mark.fake_alone
@every_arch
def test_a_register_the_note_lacks_is_unavailable(arch: Arch) -> None:
    kernel = fake_kernel(arch, possible=1)
    notes = [dataclasses.replace(kernel.notes[0], registers={arch.pc: 0x1234})]
    view = open_kernel_view(dataclasses.replace(kernel, notes=notes).dump())
    assert {arch.pc: 0x1234} == dict(view.current.registers.items())
    assert arch.sp not in view.current.registers


@pytest.mark.fake_alone
def test_control_registers_are_there_where_notes_have_them() -> None:
    """As QEMU's do for each CPU; a kernel's own notes are not of each CPU, and have none."""
    kernel = fake_kernel(X86_64, hypervisor=True)
    control = {"cr0": 0x80050033, "cr2": 8, "cr3": 0x1E0E000, "cr4": 0x751EF0, "k_gs_base": 0}
    notes = [dataclasses.replace(note, control=control) for note in kernel.notes]
    view = open_kernel_view(dataclasses.replace(kernel, notes=notes).dump())
    for thread, note in zip(view.threads, notes, strict=True):
        found = {name: thread.registers[name] for name in thread.registers}
        assert found == {**note.registers, **control}
    without = open_kernel_view(kernel.dump())
    assert "cr3" not in without.layout.by_name
    assert without.layout.features == X86_64.layout().features


@every_arch
def test_the_text_segment_is_where_the_kernel_runs(arch: Arch) -> None:
    kernel = fake_kernel(arch)
    text = kernel.symbols["_text"]
    assert text == open_kernel_view(kernel.dump()).placement.first_segment
    blind = kernel.without("kallsyms_names")
    proved = open_kernel_view(blind.dump()).placement.first_segment  # by VMCOREINFO
    assert proved == (text if arch.first_segment else None)
    mute = blind.with_vmcoreinfo(lambda _: "OSRELEASE=x")
    assert open_kernel_view(mute.dump()).placement.first_segment is None


def test_a_symbol_files_addresses_are_moved_by_kaslr_but_per_cpu_ones_are_not() -> None:
    kaslr = 0x1E000000
    kernel = fake_kernel(possible=4, online=[1, 3], hypervisor=False, kaslr=kaslr, panic_cpu=3)
    linked = {
        name: address - kaslr if address > 1 << 32 else address
        for name, address in kernel.symbols.items()
    }
    file = FakeSymbolFile(linked, first_segment=0xFFFFFFFF81000000)
    view = open_kernel_view(kernel.without("kallsyms_names").dump(), file)
    assert file.asked == 1
    assert [thread.core for thread in view.threads] == [1, 3]
    assert (view.threads[1], "panic_cpu") == (view.current, view.current_reason)
    assert kernel.symbols["_text"] == view.placement.first_segment


def test_a_dump_without_notes_still_has_memory_to_look_at() -> None:
    kernel = dataclasses.replace(fake_kernel(), notes=[])
    view = open_kernel_view(kernel.dump())
    assert [tuple(thread.id) for thread in view.threads] == [(1, 1)]
    assert dict(view.current.registers.items()) == {"rip": 0}  # gdb attaches to no less
    assert view.open_session().read_memory(kernel.symbols["_text"], 4) == b"\x90" * 4
    assert [thread.extra for thread in view.threads] == ["no CPU registers in the dump"]


def test_the_tables_of_symbols_and_types_are_not_kept() -> None:
    """They take megabytes, and are needed while the view is made."""
    gc.collect()
    before = sum(isinstance(each, (Kallsyms, Btf)) for each in gc.get_objects())
    kernel = fake_kernel(panic_cpu=2)
    view = open_kernel_view(kernel.dump())
    assert view.current_reason == "panic_cpu"  # by its symbol, so they were read
    gc.collect()
    assert sum(isinstance(each, (Kallsyms, Btf)) for each in gc.get_objects()) == before
    assert view.symbols is not None
    assert view.symbols().startswith(f"symbols from the dump's kallsyms ({len(kernel.symbols)}")


@pytest.mark.fake_alone
def test_every_session_has_memory_of_its_own() -> None:
    opened: list[AddressSpace] = []

    def note(below: AddressSpace) -> AddressSpace:
        opened.append(below)
        return below

    view = open_kernel_view(fake_kernel().dump(note))
    before = len(opened)
    first, second = view.open_session(), view.open_session()
    assert before + 2 == len(opened)
    assert opened[-2] is not opened[-1]
    assert first.inferior.threads is second.inferior.threads
    assert first.inferior.auxv is None


def test_there_are_mappings_if_none_at_all() -> None:
    """gdb's gcore else looks for a program's memory in the kernel, page by page."""
    files = open_kernel_view(fake_kernel().dump()).files
    assert files is not None
    for path in ("/proc/1/maps", "/proc/1/task/1/maps"):
        maps = files.open(path)
        assert maps is not None
        assert (maps.size, maps.read(0, 99)) == (0, b"")
    smaps = files.open("/proc/1/smaps")
    assert smaps is not None
    with pytest.raises(RefusedError, match=r"^gcore is for processes .*copy the vmcore"):
        smaps.read(0, 99)
    assert files.open("/proc/1/task/1/smaps") is None
    assert files.open("/etc/passwd") is None


def test_a_deferred_target_makes_its_view_once_and_tries_again_after_an_error() -> None:
    made: list[View] = []

    def make() -> View:
        made.append(open_kernel_view(fake_kernel(possible=1).dump()))
        if len(made) == 1:
            raise InputError("not yet")
        return made[-1]

    target = DeferredTarget(make)
    assert made == []
    with pytest.raises(InputError):
        target.prepare()
    assert target.prepare() is target.prepare()
    assert target.open_session().inferior.threads is made[1].threads
    assert len(made) == 2


@pytest.mark.parametrize(
    ("offset", "expected"), [("ffffffff80000000", 0xFFFFFFFF01000000), ("-1", None)]
)
def test_a_damaged_kaslr_offset_does_not_lead_out_of_the_address_space(
    offset: str, expected: int | None
) -> None:
    kernel = fake_kernel().without("kallsyms_names")
    kernel = kernel.with_vmcoreinfo(lambda _: f"KERNELOFFSET={offset}\n")
    file = FakeSymbolFile({}, first_segment=0xFFFFFFFF81000000)
    assert expected == open_kernel_view(kernel.dump(), file).placement.first_segment


def look_around(dump: FakeDump, kernel: FakeKernel) -> View:
    """Open a view and look at everything a client could; only memory may fail."""
    view = open_kernel_view(dump, None)
    assert max(1, len(kernel.notes)) == len(view.threads)
    assert view.current in list(view.threads)
    session = view.open_session()
    for thread in session.inferior.threads:
        assert thread.extra.startswith("CPU #")
        assert thread.registers.layout is view.layout
    if view.placement.first_segment is not None:
        assert 0 <= view.placement.first_segment < 1 << 64
    try:
        session.read_memory(0x1000, 64)
    except MemoryFault:
        return view
    return view


KERNELS = {
    "kdump": fake_kernel(possible=5, online=[0, 2, 4], deaf=[2], pids={4: 9}, panic_cpu=4),
    "hypervisor": fake_kernel(possible=5, pids={4: 9}, panic_cpu=4, hypervisor=True),
    **{name: fake_kernel(arch, pids={1: 7}, panic_cpu=1) for name, arch in ARCHITECTURES.items()},
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
SPOILERS: dict[str, Callable[[AddressSpace], AddressSpace]] = {
    "every read fails": damage.every_read_fails,
    "all zeros": damage.filled_with(0),
    "all ones": damage.filled_with(0xFF),
    "all A": damage.filled_with(0x41),
    "random": damage.random_bytes(1),
    "one byte at a time": damage.cut_short(0),
    "half of each read": damage.cut_short(0.5),
}


@pytest.mark.fake_alone
@every_kernel
@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_memory_that_is_all_wrong_opens_nevertheless(
    kernel: FakeKernel, spoil: Callable[[AddressSpace], AddressSpace]
) -> None:
    look_around(kernel.dump(spoil), kernel)


@pytest.mark.fake_alone
@given(
    st.sampled_from(list(KERNELS)), st.integers(0, 1 << 32), st.floats(0.01, 0.9), st.integers(0, 2)
)
def test_memory_that_is_wrong_in_places_opens_nevertheless(
    name: str, seed: int, share: float, how: int
) -> None:
    spoil = (
        damage.some_reads_fail(seed, share),
        damage.flipped_bits(seed, share / 10),
        damage.cut_short(share),
    )[how]
    look_around(KERNELS[name].dump(spoil), KERNELS[name])


@given(st.sampled_from(list(KERNELS)), st.data())
def test_any_bytes_in_the_kernels_tables_open_nevertheless(name: str, data: st.DataObject) -> None:
    kernel = KERNELS[name]
    targets = [n for n in kernel.segments if not n.startswith("task")]
    for segment in data.draw(st.lists(st.sampled_from(targets), min_size=1, max_size=4)):
        size = len(kernel.segments[segment][1])
        at = data.draw(st.integers(0, size - 1))
        kernel = kernel.with_bytes(segment, data.draw(st.binary(min_size=1, max_size=64)), at)
    look_around(kernel.dump(), kernel)


@given(
    st.sampled_from(list(KERNELS)),
    st.dictionaries(
        st.sampled_from(
            [
                "SYMBOL(_stext)", "KERNELOFFSET", "CRASHTIME", "PAGESIZE",
                *(f"SYMBOL(kallsyms_{part})" for part in (
                    "names", "num_syms", "token_table", "token_index", "offsets", "relative_base",
                )),
            ]
        ),
        st.one_of(
            st.integers(-(1 << 64), 1 << 65).map(lambda n: f"{n:x}"),
            st.text(st.characters(codec="utf-8"), max_size=9),
        ),
        min_size=1,
    ),
)  # fmt: skip
def test_any_vmcoreinfo_opens_nevertheless(name: str, lines: dict[str, str]) -> None:
    kernel = KERNELS[name]
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    kernel = kernel.with_vmcoreinfo(lambda old: old + text)
    try:
        look_around(kernel.dump(), kernel)
    except DumpOpenError as error:  # libkdumpfile does not take every page size
        assert "Invalid page size" in str(error)
        assert "\n" not in str(error)


def test_the_hypothesis_of_soundness_holds() -> None:
    """The kernels that are damaged above do open rightly when they are not."""
    view = look_around(KERNELS["kdump"].dump(), KERNELS["kdump"])
    assert (view.current_reason, view.current.extra) == ("panic_cpu", "CPU #4 pid 9")
    assert X86_64 is view.arch


def test_masks_of_pointer_authentication_are_registers_of_every_thread() -> None:
    """gdb 13 needs the floating-point registers beside them; LLDB wants the bits.

    Bit 55 is left to the address: gdb 13 clears what is in the mask, and so can be told apart.
    """
    kernel = fake_kernel(AARCH64, possible=2)
    for mask, names, bits in (
        ("0xffff000000000000", ("fpu", "pauth"), 48),
        ("0xfff0000000000000", ("fpu", "pauth"), 52),
        ("0x0", (), None),
    ):
        line = f"NUMBER(KERNELPACMASK)={mask}\n"
        told = kernel.with_vmcoreinfo(lambda text, line=line: text + line)  # type: ignore[misc]
        view = open_kernel_view(told.dump())
        assert view.layout is AARCH64.layout(*names)
        assert view.addressing_bits == bits
        for thread in view.threads:
            wanted = (int(mask, 16) & ~(1 << 55)) or None
            assert thread.registers.get("pauth_cmask") == wanted
            assert thread.registers.get("pauth_dmask") == wanted
            assert thread.registers.get("v0") is None
